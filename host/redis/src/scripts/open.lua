-- Makes deliveries known. Takes for each the envelope's id, its generation and the delivery. Answers for each the state
-- in which its generation has ended, or 0.

local answers = {}
for i = 1, #ARGV, 3 do
  local id, generation, delivery = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local r = record(id, read(id))
  local state = r.generation == generation and r.state or 0
  if state == 0 then fence(id, generation, delivery) end
  answers[#answers + 1] = state
end
return table.concat(answers)
