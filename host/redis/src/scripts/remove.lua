-- Removes dead letters for ever. Answers 1 for each that was there.

local now = time()
local answers, removed = {}, {}
for _, id in ipairs(ARGV) do
  local e = dead(id, now)
  if e then
    exhume(e)
    forget_later(e, '')
    forget_doomed()
    removed[#removed + 1] = id
  end
  answers[#answers + 1] = e and 1 or 0
end
tell(removed)
return table.concat(answers)
