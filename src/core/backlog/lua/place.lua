--[[
  Put open jobs where their documents say that they stand: in the backlog or `released`, in `later` where
  their time has not come, in `leases` and, by
  whether the engine began, in `running` or `ready`, in `confirmations`, or, once their end is decided,
  nowhere. It decides by one snapshot, and running it again changes nothing: whoever hears of a job, or doubts
  where it stands, names it here.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  most epochs   ARGV[3]  ms after which a confirmation is overdue
    ARGV[4]  longest time (ms) for which a lease is believed
    ARGV[5]  ms after which a claim that is held ready is looked at
    ARGV[6+] per job: id, epoch that it is thought to be in
  Returns the queues of jobs that do not run: there is room for others.
]]
local most, overdue, longest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local readyFor = tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Whether the current epoch is claimed and whether its engine began, what was committed in it, whether it is
-- closed, and whether the end of the job is decided.
local function standing(id, guess)
  local claims, ruling = keys.claims(id), keys.ruling(id)
  local ruled = redis.call('HMGET', ruling, 'state', 'x' .. guess, 'logged', 'x' .. (guess - 1))
  if ruled[1] or ruled[3] then return false, nil, true, true end
  local claimed = redis.call('HMGET', claims, 'e' .. guess, 'c' .. guess, 'b' .. guess, 'e' .. (guess + 1))
  local isNext = guess == 1 or (guess > 1 and guess <= most and ruled[4])
  if isNext and claimed[1] and not (ruled[2] and claimed[4]) then
    return hasBegun(claimed[1], claimed[3]), claimed[2], ruled[2]
  end
  -- An epoch counts only when the one before it is closed: anybody of the pool can claim any.
  local epoch, closed = 0, true
  while closed and epoch < most and redis.call('HEXISTS', claims, 'e' .. (epoch + 1)) == 1 do
    epoch = epoch + 1
    closed = redis.call('HGET', ruling, 'x' .. epoch)
  end
  if epoch == 0 then return false, nil, true end
  claimed = redis.call('HMGET', claims, 'e' .. epoch, 'c' .. epoch, 'b' .. epoch)
  return hasBegun(claimed[1], claimed[3]), claimed[2], closed
end

-- When (ms) the lease can have run out. Where there is none, its worker may just have said why.
local function leaseEnd(id)
  local rest = redis.call('PTTL', keys.lease(id))
  if rest == -1 or rest > longest then return now + longest end
  return now + (rest < 0 and 300 or rest + 20)
end

local roomy = {}
local function place(id, guess)
  local job = redis.call('HMGET', keys.job(id), 'tenant', 'queue', 'created', 'notbefore', 'flow', 'band')
  local tenant, queue, flow = job[1], job[2], job[5] or job[1]
  if not tenant then return end
  local lane = laneOf(queue, job[6])
  local begun, commit, closed, ended = standing(id, guess)
  local isLater = closed and not ended and tonumber(job[4] or 0) > now
  if job[4] and not isLater and not (closed and not ended) then
    leaveLater(queue, flow, tonumber(job[4]), id)
  end
  if ended then
    leaveAll(queue, lane, tenant, id)
    return
  end
  if not commit and not closed then
    leave(keys.backlog(lane), id)
    leaveReleased(queue, id)
    leave(keys.confirmations, id)
    redis.call('ZADD', keys.leases(queue), leaseEnd(id), id)
    if begun then
      leave(keys.ready(queue), id)
      redis.call('ZADD', keys.running(tenant), job[3], id)
    else
      leave(keys.running(tenant), id)
      redis.call('ZADD', keys.ready(queue), 'NX', now + readyFor, id)
    end
    return
  end
  roomy[queue] = true
  leave(keys.leases(queue), id)
  leave(keys.ready(queue), id)
  leave(keys.running(tenant), id)
  if not closed then
    leave(keys.backlog(lane), id)
    leaveReleased(queue, id)
    redis.call('ZADD', keys.confirmations, 'NX', now + overdue, id)
    return
  end
  leave(keys.confirmations, id)
  if isLater then
    leave(keys.backlog(lane), id)
    leaveReleased(queue, id)
    enterLater(queue, flow, tonumber(job[4]), id)
  elseif not redis.call('ZSCORE', keys.backlog(lane), id)
    and not (job[4] and redis.call('ZSCORE', keys.later(queue), id)) then
    -- Where it stands in no set at all, it is looked for in BullMQ at once, and added.
    redis.call('ZADD', keys.released(queue), 'NX', now, id)
  end
end

for at = 6, #ARGV, 2 do place(ARGV[at], tonumber(ARGV[at + 1])) end
flushLeft()
local queues = {}
for queue in pairs(roomy) do queues[#queues + 1] = queue end
return queues
