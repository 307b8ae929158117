--[[
  Rule on jobs: every end but `done`, which is a place in the log (sequence.lua). Only the attestor may write
  here. The end is sealed afterwards.

  Every ruling names the epoch and the phase that it is about; if the job has moved on, nothing happens.

    KEYS[1]  open jobs  {shard}:open            ARGV[1]  key prefix
    KEYS[2]  unsealed   {shard}:unsealed
    ARGV[2]  most epochs
    ARGV[3+] per ruling: id, epoch, phases ("queued", "ready", "running", "attesting", separated by spaces),
             action, state, code, detail, verdict or "", field or ""
      action 'end'    make the job final in `state`
      action 'close'  close the epoch with `state` as the reason ('refuted', 'released', 'voted', 'void'); the
                      job is queued again while attempts are left, else it ends: 'rejected' after a
                      refutation, otherwise 'failed'. It stands in the backlog before all that its tenant has
                      waiting, and the tenant is charged for one more run. After 'void' the attempt is not
                      counted, while epochs are left
      action 'last'   as 'close', where nobody is left who may try: no attempt follows
      action 'lost'   as 'close', if no worker holds the lease any more; 'void' where the worker is barred, or
                      held the claim ready and had not begun
      action 'lostlast'  as 'lost', and unless it is 'void', no attempt follows
  A retry that counts as an attempt and is beyond its queue's budget (retry-budget.lua) is held back.
  Workers are told of claims that were held ready and are not theirs any more.
  Returns per ruling {'ended', state} or {'requeued', queue}, or
    {'missing'}  {'already', state}  {'fenced'}  {'held'}
    {'logged'}    a confirmation has its place in the log, and is the only end that the job can have
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local woken, unsealed, taken = {}, {}, {}
local mostEpochs = tonumber(ARGV[2])

-- How many of the epochs up to this one are counted as attempts.
local function attemptsIn(ruling, epoch)
  local counted = 0
  for at = 1, epoch do
    local closing = redis.call('HGET', ruling, 'x' .. at) or ''
    if string.find(closing, 'void ', 1, true) ~= 1 then counted = counted + 1 end
  end
  return counted
end

local function claimantOf(claim) return string.match(string.sub(claim, 1, 256), '^%S+') or '-' end

-- Whoever has claimed what comes after the epoch that is closed now had no turn: that is no attempt. Returns
-- the last epoch that is closed.
local function closeEarly(claims, ruling, epoch)
  while epoch < mostEpochs do
    local claim = redis.call('HGET', claims, 'e' .. (epoch + 1))
    if not claim then return epoch end
    epoch = epoch + 1
    local closing = 'void ' .. claimantOf(claim) .. ' ' .. now .. ' CLAIMED_TOO_EARLY'
    redis.call('HSETNX', ruling, 'x' .. epoch, closing)
  end
  return epoch
end

-- Puts a job that is tried again in its backlog: first of what its tenant has waiting, or, where its queue
-- has no retry left, held back until it has.
local function queueAgain(queue, lane, flow, id)
  local left = retriesLeft(redis.call('HGET', keys.pace(queue), 'retries'))
  if left >= 1 then
    redis.call('HSET', keys.pace(queue), 'retries', string.format('%.2f', left - 1))
    redis.call('ZADD', keys.backlog(lane), justBefore(presentOf(lane)), id)
    return
  end
  local member = string.format('%s %s %016.0f %s', retryBudget, flow, 0, id)
  redis.call('ZADD', keys.backlog(lane), heldTag, id)
  redis.call('ZADD', keys.heldBack(lane), 0, member)
  redis.call('HSET', keys.job(id), 'early', 'h' .. member)
end

local function rule(id, epochText, phases, action, state, code, detail, verdict, field)
  local epoch = tonumber(epochText)
  local claims, ruling = keys.claims(id), keys.ruling(id)
  local job = redis.call('HMGET', keys.job(id), 'tenant', 'attempts', 'queue', 'charge', 'flow', 'notbefore',
    'early', 'rank', 'band')
  local tenant, queue = job[1], job[3]
  -- The ticket of a sealed job is gone, and what was claimed of it as well.
  if not tenant or redis.call('EXISTS', keys.ticket(id)) == 0 then
    leave(KEYS[1], id)
    return { 'missing' }
  end
  local lane = laneOf(queue, job[9])
  local ruled = redis.call('HMGET', ruling, 'state', 'x' .. epoch, 'logged', 'x' .. (epoch - 1))
  if ruled[1] then
    leaveAll(queue, lane, tenant, id)
    return { 'already', ruled[1] }
  end
  -- One that was given back from the disk has its record, and is not in these documents.
  if ruled[3] or redis.call('EXISTS', keys.record(id)) == 1 then return { 'logged' } end
  -- The named epoch is the current one if it was claimed in its turn, and is open or the next was not
  -- claimed.
  local claimed = redis.call('HMGET', claims, 'e' .. epoch, 'e' .. (epoch + 1), 'c' .. epoch, 'b' .. epoch)
  local isCurrent = epoch == 0 and not claimed[2]
  if claimed[1] and (epoch == 1 or ruled[4]) then isCurrent = not (ruled[2] and claimed[2]) end
  local phase = 'ready'
  if epoch == 0 or ruled[2] then
    phase = 'queued'
  elseif claimed[3] then
    phase = 'attesting'
  elseif hasBegun(claimed[1], claimed[4]) then
    phase = 'running'
  end
  if not isCurrent or not string.find(phases, phase, 1, true) then return { 'fenced' } end
  local isLost, isLast = action == 'lost' or action == 'lostlast', action == 'last' or action == 'lostlast'
  if isLost and redis.call('EXISTS', keys.lease(id)) == 1 then return { 'held' } end

  woken[#woken + 1] = id
  if phase == 'ready' then taken[#taken + 1] = { id, id .. ':' .. epoch } end
  if action ~= 'end' then
    local worker = claimantOf(claimed[1])
    if isLost and (phase == 'ready' or redis.call('HEXISTS', keys.barred(id), worker) == 1) then
      state = 'void'
      isLast = false
    end
    redis.call('HSETNX', ruling, 'x' .. epoch, state .. ' ' .. worker .. ' ' .. now .. ' ' .. detail)
    local last = claimed[2] and closeEarly(claims, ruling, epoch) or epoch
    if not isLast and last < mostEpochs and attemptsIn(ruling, last) < tonumber(job[2]) then
      if tonumber(job[6] or 0) > now then
        enterLater(queue, job[5] or tenant, tonumber(job[6]), id)
      else
        local flow = job[5] or tenant
        charge(lane, flow, job[4] or 0)
        -- What is voted was to be run as often; of what is void nothing ran.
        if state == 'voted' or state == 'void' then
          redis.call('ZADD', keys.backlog(lane), justBefore(presentOf(lane)), id)
        else
          queueAgain(queue, lane, flow, id)
        end
      end
      -- A wish to cancel that came while it ran is looked at now.
      local ticket = redis.call('HMGET', keys.ticket(id), 'deadline', 'cancel')
      redis.call('ZADD', KEYS[1], ticket[2] and now or ticket[1], id)
      redis.call('HSET', ruling, 'requeued', last)
      leaveReleased(queue, id)
      leave(keys.leases(queue), id)
      leave(keys.ready(queue), id)
      leave(keys.confirmations, id)
      leave(keys.running(tenant), id)
      return { 'requeued', queue }
    end
    state = state == 'refuted' and 'rejected' or 'failed'
  end

  local ending = { 'state', state, 'ended', now, 'epoch', epoch, 'reason', code .. ' ' .. detail }
  if verdict ~= '' then
    for _, value in ipairs({ 'verdict', verdict, 'field', field }) do ending[#ending + 1] = value end
  end
  redis.call('HSET', ruling, unpack(ending))
  leaveAll(queue, lane, tenant, id)
  if job[6] then leaveLater(queue, job[5] or tenant, tonumber(job[6]), id) end
  local held = job[7] and string.match(job[7], '^h(.+)')
  if held then leave(keys.heldBack(lane), held)
  elseif job[7] then leave(keys.outOfTurn(lane), turnOf(job[5] or tenant, job[7], tonumber(job[8]), id)) end
  -- It costs nothing. A worker that began may have used its tokens; of one that never did, they go back.
  settle(id, tenant, 0, 0, epoch == 0 and 0 or nil)
  unsealed[#unsealed + 1] = -1
  unsealed[#unsealed + 1] = id
  return { 'ended', state }
end

local replies = {}
for at = 3, #ARGV, 9 do
  replies[#replies + 1] = rule(unpack(ARGV, at, at + 8))
end
flushLeft()
saveShares()
if #unsealed > 0 then redis.call('ZADD', KEYS[2], unpack(unsealed)) end
for _, claim in ipairs(taken) do redis.call('PUBLISH', channels.stops(claim[1]), claim[2]) end
if #woken > 0 then redis.call('PUBLISH', channels.changes, table.concat(woken, ' ')) end
return replies
