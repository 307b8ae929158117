--[[
  Included by the scripts that ask for jobs to be cancelled. The time of the first request is kept with the
  ticket, and why, where it was not the user who asked. The stream tells the attestor, which ends a job that
  no worker runs, and the workers, which stop theirs. An attestor also looks at the job a moment later, as if
  its deadline had come: an entry of the stream can be lost.

    askCancel(id, now, lookMs, streamLength, why)   `why` is "" where its user asks
  Returns 'missing', 'final', 'asked', or 'logged' where its confirmation has its place in the log.
]]
local function askCancel(id, now, lookMs, streamLength, why)
  local ticket = keys.ticket(id)
  if redis.call('EXISTS', ticket) == 0 then return 'missing' end
  local ruled = redis.call('HMGET', keys.ruling(id), 'state', 'logged')
  if ruled[1] then return 'final' end
  -- A confirmation that stands in the log is the only end that the job can have, also where it was given back
  -- from the disk.
  if ruled[2] or redis.call('EXISTS', keys.record(id)) == 1 then return 'logged' end
  if redis.call('HSETNX', ticket, 'cancel', now) == 1 and why ~= '' then
    redis.call('HSET', ticket, 'cancelwhy', why)
  end
  redis.call('ZADD', keys.open, 'XX', 'LT', now + lookMs, id)
  redis.call('XADD', keys.cancels, 'MAXLEN', '~', streamLength, '*', 'jobs', 'x:' .. id)
  redis.call('PUBLISH', channels.cancels, id)
  redis.call('PUBLISH', channels.stops(id), id)
  return 'asked'
end
