--[[
  Put jobs whose time has come, by Redis' clock, in their backlogs, in the order of their times. Each takes
  the turn that its flow has now, and is charged now: those that came before it and waited are not passed.

  What has ended in the meantime is left out. It goes first out of its set: a full Redis lets a script write
  once it has taken something away, and nothing that was accepted waits for memory.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  most jobs of a queue   ARGV[3+] queues
  Returns how many left their sets in each queue.
]]
local most = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function arrive(queue, id, atMs)
  local job = redis.call('HMGET', keys.job(id), 'tenant', 'flow', 'charge', 'weight', 'rank', 'band')
  leaveLater(queue, job[2] or job[1] or '', atMs, id)
  local ruled = redis.call('HMGET', keys.ruling(id), 'state', 'logged')
  if not job[1] or ruled[1] or ruled[2] or redis.call('EXISTS', keys.ticket(id)) == 0 then return end
  local flow, charged, weight = job[2] or job[1], tonumber(job[3] or 0), tonumber(job[4] or 1)
  local lane = laneOf(queue, job[6])
  local present = presentOf(lane)
  local turn = enterTurn(lane, flow, tonumber(job[5] or 0), id)
  if turn then
    redis.call('ZADD', keys.outOfTurn(lane), 0, turn)
    redis.call('HSET', keys.job(id), 'early', 'a')
  end
  local start = charge(lane, flow, charged)
  noteAdmitted(lane, flow, charged * weight, weight, now, start <= present)
  redis.call('ZADD', keys.backlog(lane), 'NX', start, id)
end

local replies = {}
for at = 3, #ARGV do
  local queue = ARGV[at]
  local due = redis.call('ZRANGEBYSCORE', keys.later(queue), '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  for entry = 1, #due, 2 do arrive(queue, due[entry], tonumber(due[entry + 1])) end
  replies[#replies + 1] = #due / 2
end
saveShares()
return replies
