--[[
  How many places of engines are free in queues in which nothing waits for a worker, but what limits hold
  back.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2+] queues
  Returns a number for each queue.
]]
local replies = {}
for at = 2, #ARGV do
  local queue = ARGV[at]
  local slots = tonumber(redis.call('HGET', keys.pace(queue), 'slots') or 0)
  local taken = redis.call('ZCARD', keys.leases(queue)) - redis.call('ZCARD', keys.ready(queue))
  local waiting = redis.call('ZCARD', keys.released(queue))
  for _, lane in ipairs(lanesOf(queue)) do
    waiting = waiting + redis.call('ZCOUNT', keys.backlog(lane), '-inf', '(' .. heldTag)
  end
  replies[#replies + 1] = waiting > 0 and 0 or math.max(0, slots - taken)
end
return replies
