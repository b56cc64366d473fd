-- Cancels: what waits goes, with a record that says so; what runs is marked. Takes the mark (8 ask, 16 now), and for
-- each envelope its id, the generation and deliveries that it was seen with, its record, and how long that is kept.
-- Answers for each u unknown, d dead, a asked, c cancelled, x it has changed since it was seen.

local FIELDS = 4
local mark = tonumber(ARGV[1])
local now = time()

local function remove(e)
  if e.place == HELD then
    call('ZREM', P .. 'due:' .. e.queue, e.id)
  elseif lease_of(e) then
    end_leases(e.queue, {e.id})
  else
    leave_lane(e)
  end
end

local function cancel(i)
  local e = read(ARGV[i])
  if not e then return 'u' end
  if e.place == DEAD then return 'd' end
  local lease = lease_of(e)
  if lease and lease.ends > now then
    -- Once it is to end at once, it cannot be asked any more.
    if not has(e.flags, NOW) then
      if mark == NOW and has(e.flags, ASK) then e.flags = e.flags - ASK end
      e.flags = with(e.flags, mark)
    end
    write_marked(e)
    return 'a'
  end
  local seen, body = ARGV[i + 1], ARGV[i + 2]
  if seen ~= pack_bytes('>I4I4', e.generation, e.deliveries) then return 'x' end
  if record(e.id, e).revision ~= continues(body) then return 'x' end
  remove(e)
  forget_later(e, body, after(now, ARGV[i + 3]))
  return 'c'
end

local answers, changed = {}, {}
for i = 2, #ARGV, FIELDS do
  local answer = cancel(i)
  answers[#answers + 1] = answer
  if answer == 'a' or answer == 'c' then changed[#changed + 1] = ARGV[i] end
end
forget_doomed()
tell(changed)
return table.concat(answers)
