--[[
  Read jobs, as one snapshot: the record of a job that has ended, else its documents. What workers write is
  bounded: a field that is longer than any honest one is answered as absent.

    KEYS[1]  any key of the shard that the caller may write, for routing in a cluster
    ARGV[1]  key prefix      ARGV[2]  most epochs      ARGV[3+]  job ids
  Returns {now, ms, entries of the log that are published, and that have their places, per job two values:
    false, or its record, or
    { tenant, model, queue, created, deadline, attempts, cancel, ticket, key, hold, surface, store,
      not before, rank, band, state, ended, epoch, reason, epoch and place in the log,
      { claim, beginning, commit, closing, claim, … } };
    and since when (ms) it is to be erased, or false}
]]
local most = tonumber(ARGV[2])
local time = redis.call('TIME')
local size = tonumber(redis.call('HGET', keys.log, 'size') or 0)
local total = size - size % 256 + redis.call('LLEN', keys.logTail)
local jobs = { time[1] * 1000 + math.floor(time[2] / 1000), size, total }
local function bounded(key, field)
  if redis.call('HSTRLEN', key, field) > 256 then return false end
  return redis.call('HGET', key, field)
end
local function documents(id)
  local noted = redis.call('HMGET', keys.job(id), 'tenant', 'model', 'queue', 'created', 'attempts', 'key',
    'hold', 'surface', 'store', 'notbefore', 'rank', 'band')
  local ticket = redis.call('HMGET', keys.ticket(id), 'deadline', 'cancel', 'ticket')
  if not noted[1] or not ticket[3] then return false end
  local job = { noted[1], noted[2], noted[3], noted[4], ticket[1], noted[5], ticket[2], ticket[3], noted[6],
    noted[7], noted[8], noted[9], noted[10], noted[11], noted[12] }
  local claims, ruling = keys.claims(id), keys.ruling(id)
  for _, value in ipairs(redis.call('HMGET', ruling, 'state', 'ended', 'epoch', 'reason', 'logged')) do
    job[#job + 1] = value
  end
  local epochs = {}
  for epoch = 1, most do
    if redis.call('HEXISTS', claims, 'e' .. epoch) == 0 then break end
    for _, letter in ipairs({ 'e', 'b', 'c' }) do epochs[#epochs + 1] = bounded(claims, letter .. epoch) end
    local closing = redis.call('HGET', ruling, 'x' .. epoch)
    epochs[#epochs + 1] = closing
    -- What is claimed before this one is closed is no attempt.
    if not closing then break end
  end
  job[#job + 1] = epochs
  return job
end
for at = 3, #ARGV do
  local id = ARGV[at]
  local record = redis.call('GET', keys.record(id))
  -- A confirmation whose place is not published yet has not ended the job.
  local place = record and string.match(string.sub(record, 1, 64), '^1 %a+ (%S+) ')
  if place and (place == '-' or tonumber(place) < size) then
    jobs[#jobs + 1] = record
  else
    jobs[#jobs + 1] = documents(id)
  end
  local due = redis.call('ZSCORE', keys.erasures, id)
  jobs[#jobs + 1] = due and tonumber(due) <= jobs[1] and due
end
return jobs
