--[[
  Read the documents of jobs, as one snapshot. What workers write is bounded: a field that is longer than any
  honest one is answered as absent.

    KEYS[1]  any key of the shard that the caller may write, for routing in a cluster
    ARGV[1]  key prefix      ARGV[2]  most epochs      ARGV[3+]  job ids
  Returns {now, ms, per job false or
    { tenant, model, queue, created, deadline, attempts, cancel, ticket,
      state, ended, epoch, reason,  { claim, commit, closing, claim, commit, closing, … } }}
]]
local most = tonumber(ARGV[2])
local time = redis.call('TIME')
local jobs = { time[1] * 1000 + math.floor(time[2] / 1000) }
local function bounded(key, field)
  if redis.call('HSTRLEN', key, field) > 256 then return false end
  return redis.call('HGET', key, field)
end
for at = 3, #ARGV do
  local id = ARGV[at]
  local noted = redis.call('HMGET', keys.job(id), 'tenant', 'model', 'queue', 'created', 'attempts')
  if noted[1] then
    local ticket = redis.call('HMGET', keys.ticket(id), 'deadline', 'cancel', 'ticket')
    local job = { noted[1], noted[2], noted[3], noted[4], ticket[1], noted[5], ticket[2], ticket[3] }
    local claims, ruling = keys.claims(id), keys.ruling(id)
    for _, value in ipairs(redis.call('HMGET', ruling, 'state', 'ended', 'epoch', 'reason')) do
      job[#job + 1] = value
    end
    local epochs = {}
    for epoch = 1, most do
      if redis.call('HEXISTS', claims, 'e' .. epoch) == 0 then break end
      epochs[#epochs + 1] = bounded(claims, 'e' .. epoch)
      epochs[#epochs + 1] = bounded(claims, 'c' .. epoch)
      epochs[#epochs + 1] = redis.call('HGET', ruling, 'x' .. epoch)
    end
    job[#job + 1] = epochs
    jobs[#jobs + 1] = job
  else
    jobs[#jobs + 1] = false
  end
end
return jobs
