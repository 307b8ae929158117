--[[
  Rule on jobs. This is the only place that ends a job, and only the attestor may write here.

  Every ruling names the epoch and the phase that it is about; if the job has moved on, nothing happens.

    KEYS[1]  open jobs  {shard}:open            ARGV[1]  key prefix
    KEYS[2]  all ended  {shard}:ended
    ARGV[2+] per ruling: id, epoch, phases ("queued", "running", "attesting", separated by spaces), action,
             state, code, detail, verdict or "", field or "",
             size of the checkpoint by which its verdict stands in the log, or ""
      action 'end'    make the job final in `state`; 'done' only with the verdict that sequence.lua kept for
                      this epoch
      action 'close'  close the epoch with `state` as the reason ('refuted', 'released', 'voted'); the job is
                      queued again while attempts are left, else it ends: 'rejected' after a refutation,
                      otherwise 'failed'. It stands in the backlog before all that its tenant has waiting, and
                      the tenant is charged for one more run
      action 'lost'   as 'close', if no worker holds the lease any more
  Returns per ruling {'ended', state} or {'requeued', queue}, or
    {'missing'}  {'already', state}  {'fenced'}  {'held'}
    {'logged'}    another end was refused: a confirmation has its place in the log
    {'unlogged'}  done was refused: no verdict about this epoch stands in the log
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local woken = {}
-- No two jobs end at the same moment, and none before another that was seen: a reader of the ends needs one
-- number.
local newest = tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2] or 0)

-- What ended, for one command for each set and not for each job.
local ended, endedOf = {}, {}
local function remember(set, score, id)
  set[#set + 1] = score
  set[#set + 1] = id
end

local function rule(id, epochText, phases, action, state, code, detail, verdict, field, logSize)
  local epoch = tonumber(epochText)
  local claims, ruling = keys.claims(id), keys.ruling(id)
  local job = redis.call('HMGET', keys.job(id), 'tenant', 'created', 'attempts', 'queue', 'cost', 'flow')
  local tenant, queue = job[1], job[4]
  if not tenant then
    leave(KEYS[1], id)
    return { 'missing' }
  end
  local ruled = redis.call('HMGET', ruling, 'state', 'x' .. epoch, 'logged')
  if ruled[1] then
    leaveAll(queue, tenant, id)
    return { 'already', ruled[1] }
  end

  local claimed
  if state == 'done' then
    local loggedEpoch, index = string.match(ruled[3] or '', '^(%d+) (%d+) ')
    -- sequence.lua saw that this epoch was the current one and held evidence; nothing ends that.
    if loggedEpoch ~= epochText or logSize == '' or tonumber(index) >= tonumber(logSize) then
      return { 'unlogged' }
    end
  else
    -- A confirmation that stands in the log is the only end that the job can have.
    if ruled[3] then return { 'logged' } end
    -- The named epoch is the current one if it was claimed and the next was not.
    claimed = redis.call('HMGET', claims, 'e' .. epoch, 'e' .. (epoch + 1), 'c' .. epoch)
    local isCurrent = (epoch == 0 or claimed[1]) and not claimed[2]
    local phase = 'running'
    if epoch == 0 or ruled[2] then phase = 'queued' elseif claimed[3] then phase = 'attesting' end
    if not isCurrent or not string.find(phases, phase, 1, true) then return { 'fenced' } end
    if action == 'lost' and redis.call('EXISTS', keys.lease(id)) == 1 then return { 'held' } end
  end

  woken[#woken + 1] = id
  if action ~= 'end' then
    local worker = string.match(string.sub(claimed[1], 1, 256), '^%S+') or '-'
    redis.call('HSETNX', ruling, 'x' .. epoch, state .. ' ' .. worker .. ' ' .. now .. ' ' .. detail)
    if epoch < tonumber(job[3]) then
      startTag(queue, job[6] or tenant, job[5])
      redis.call('ZADD', keys.backlog(queue), presentOf(queue), id)
      -- A wish to cancel that came while it ran is looked at now.
      local ticket = redis.call('HMGET', keys.ticket(id), 'deadline', 'cancel')
      redis.call('ZADD', KEYS[1], ticket[2] and now or ticket[1], id)
      redis.call('HSET', ruling, 'requeued', epoch)
      leave(keys.released(queue), id)
      leave(keys.leases(queue), id)
      leave(keys.confirmations, id)
      leave(keys.running(tenant), id)
      return { 'requeued', queue }
    end
    state = state == 'refuted' and 'rejected' or 'failed'
  end

  if state == 'done' then
    redis.call('HSET', ruling, 'state', state, 'ended', now, 'epoch', epoch, 'reason', code .. ' ' .. detail,
      'log', logSize)
  elseif verdict ~= '' then
    redis.call('HSET', ruling, 'state', state, 'ended', now, 'epoch', epoch, 'reason', code .. ' ' .. detail,
      'verdict', verdict, 'field', field)
  else
    redis.call('HSET', ruling, 'state', state, 'ended', now, 'epoch', epoch, 'reason', code .. ' ' .. detail)
  end
  leaveAll(queue, tenant, id)
  newest = math.max(now, newest + 1 / 1024)
  remember(ended, newest, id)
  local index = keys.endedOf(tenant, state)
  endedOf[index] = endedOf[index] or {}
  remember(endedOf[index], job[2], id)
  return { 'ended', state }
end

local replies = {}
for at = 2, #ARGV, 10 do
  replies[#replies + 1] = rule(unpack(ARGV, at, at + 9))
end
flushLeft()
saveShares()
if #ended > 0 then redis.call('ZADD', KEYS[2], unpack(ended)) end
for index, members in pairs(endedOf) do redis.call('ZADD', index, unpack(members)) end
if #woken > 0 then redis.call('PUBLISH', channels.changes, table.concat(woken, ' ')) end
return replies
