--[[
  Accept jobs: write ticket, idempotency key, indexes, the amount held and the place in the backlog, in one
  step, so that a crash leaves all or nothing. After a crash right here the job waits for the next release, by
  whichever process.

    KEYS[1]  sorted set of open jobs          {shard}:open
    ARGV[1]  key prefix                       {shard}:
    ARGV[2]  life of an idempotency key, ms
    ARGV[3+] for each job: id, signed ticket, small input or "", tenant, flow (who pays for its place in the
             backlog), model, queue, created ms, deadline ms, attempts, cost, digest of the idempotency key or
             "", digest of the body, API key id, further fields of the ticket's hash as one JSON object or "",
             maximum open jobs of the tenant or 0, amount to hold, spending limit of the tenant or "",
             spending limit of the key or "",
             ledger month, ledger entry, what it costs its flow in tags, then of predictions: the flow's
             weight, the job's cost, what it is told but for its place or "", slots of the workers, ms for
             each job that must end first, ms for each unit of distance, and the limits of
             `AdmissionLimits` in ms: within, beyond, capped, crowd, grace
  Returns for each job {'ok', id, "", ends, distance}, or
    {'same', id, state}  the idempotency key was used with this body, by the job with this id, which ended in
                         this state ("" where that is not noted)
    {'other', id}  the idempotency key was used with another body
    {'late', ends, distance, ahead, ties, backlogged ms}
                   its start would be too late; the same figures as in `Standing`
    {'busy', n}    the tenant has n open jobs, and may not have more
    {'spent', n}   the tenant or the key would exceed its spending limit; n is what is left
  Running it again with the same arguments (after a lost reply) returns 'same' or 'ok' and changes nothing.
]]
local idemTtl = ARGV[2]
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local replies = {}

-- Additions to sorted sets are gathered: one command for each set instead of one for each job.
local additions = {}
local function add(set, score, id)
  local members = additions[set] or {}
  members[#members + 1] = score
  members[#members + 1] = id
  additions[set] = members
end
local function flush()
  for set, members in pairs(additions) do redis.call('ZADD', set, unpack(members)) end
  additions = {}
end

-- The number of a tenant's jobs that have not ended. Those whose end is decided and not sealed are looked for
-- only where it matters.
local function openJobs(tenant, most)
  flush()
  local open = redis.call('ZCARD', keys.openOf(tenant))
  if open < most then return open end
  local size = redis.call('HGET', keys.log, 'size') or '0'
  for _, id in ipairs(redis.call('ZRANGE', keys.unsealed, '-inf', '(' .. size, 'BYSCORE', 'LIMIT', 0, 500)) do
    if redis.call('ZSCORE', keys.openOf(tenant), id) then open = open - 1 end
  end
  return open
end

-- What is left of a spending limit, or false if there is none.
local function left(account, field, most)
  if most == '' then return false end
  local held, spent = unpack(redis.call('HMGET', account, field .. 'held', field .. 'spent'))
  return tonumber(most) - (tonumber(held or '0') or 0) - (tonumber(spent or '0') or 0)
end

-- Why a job is not accepted, or nil.
local function refusal(id, tenant, keyId, most, hold, tenantSpend, keySpend)
  if most ~= '0' then
    local open = openJobs(tenant, tonumber(most))
    if open >= tonumber(most) then return { 'busy', tostring(open) } end
  end
  if hold ~= '0' then
    local account = keys.account(tenant)
    for _, rest in ipairs({ left(account, '', tenantSpend), left(account, keyId .. ':', keySpend) }) do
      if rest and rest < tonumber(hold) then return { 'spent', string.format('%.0f', rest) } end
    end
  end
end

-- Jobs of the backlog, and of those that this call adds, up to a tag.
local function waitingUpTo(queue, tag)
  local set = keys.backlog(queue)
  local count = redis.call('ZCOUNT', set, '-inf', string.format('%.17g', tag))
  local added = additions[set] or {}
  for at = 1, #added, 2 do
    if added[at] <= tag then count = count + 1 end
  end
  return count
end

local inHand = {}
-- Where the flow's next job would stand: the jobs that must end before it begins, those of the backlog among
-- them, and the distance of its tag from the present.
local function placeIn(queue, flow, slots)
  if not inHand[queue] then
    inHand[queue] = redis.call('ZCARD', keys.released(queue)) + redis.call('ZCARD', keys.leases(queue))
  end
  local tag = math.max(presentOf(queue), finishOf(queue, flow))
  local ahead = waitingUpTo(queue, tag)
  local ends = math.max(0, inHand[queue] + ahead - slots + 1)
  -- Where a place is free nothing waits, whatever was released last.
  local distance = ends == 0 and 0 or tag - presentOf(queue)
  return ends, distance, ahead
end

-- Why a job would begin too late, or nil: `excessOf` in admission-limits.ts says the same.
local function tooLate(queue, flow, ends, distance, ahead, perEnd, perTag, limits)
  local function startAfter(count)
    return count <= 0 and 0 or math.max(count * perEnd, distance * perTag + perEnd)
  end
  local start = startAfter(ends)
  local within, beyond, capped, crowd, grace = unpack(limits)
  local waitedMs, ties = 0, 0
  local isLate
  if distance <= 0 then isLate = start > within
  else
    isLate = start > beyond
    if not isLate and startAfter(ahead) > capped then
      waitedMs = backloggedFor(queue, flow, nowMs)
      isLate = waitedMs > grace or waitingUpTo(queue, presentOf(queue)) * perEnd > crowd
    end
  end
  if not isLate then return end
  waitedMs = distance > 0 and backloggedFor(queue, flow, nowMs) or 0
  ties = waitingUpTo(queue, presentOf(queue))
  return { 'late', ends, string.format('%.6g', distance), ahead, ties, waitedMs }
end

local woken, listeners = {}, {}
local function hasListener(tenant)
  if listeners[tenant] == nil then
    listeners[tenant] = redis.call('HEXISTS', keys.listeners, tenant) == 1
  end
  return listeners[tenant]
end

for at = 3, #ARGV, 33 do
  local id, ticket, input, tenant, flow, model, queue, created, deadline, attempts, cost, idem, body, keyId,
    extra, most, hold, tenantSpend, keySpend, month, entry, amount, weight, expected, told,
    slots, perEnd, perTag = unpack(ARGV, at, at + 27)
  local reply
  local idemKey = idem ~= '' and keys.idempotency(tenant, idem)
  if idemKey then
    local seen = redis.call('GET', idemKey)
    if seen then
      local kept, ended = string.match(seen, '(%S+) ?(%S*)$', #body + 2)
      reply = { string.sub(seen, 1, #body) == body and 'same' or 'other', kept, ended }
    end
  end
  if not reply and redis.call('EXISTS', keys.ticket(id), keys.record(id)) == 0 then
    reply = refusal(id, tenant, keyId, most, hold, tenantSpend, keySpend)
    local ends, distance, ahead = placeIn(queue, flow, tonumber(slots))
    -- Without workers nothing can be said of the wait.
    if not reply and slots ~= '0' then
      local limits = {}
      for part = 1, 5 do limits[part] = tonumber(ARGV[at + 27 + part]) end
      reply = tooLate(queue, flow, ends, distance, ahead, tonumber(perEnd), tonumber(perTag), limits)
    end
    if not reply then
      local place = ends .. ' ' .. string.format('%.6g', distance)
      if idemKey then redis.call('SET', idemKey, body .. ' ' .. id, 'PX', idemTtl) end
      local fields = { 'tenant', tenant, 'model', model, 'queue', queue, 'created', created,
        'attempts', attempts, 'cost', cost, 'charge', amount, 'key', keyId }
      if told ~= '' then
        fields[#fields + 1] = 'told'
        fields[#fields + 1] = told .. ' ' .. place
      end
      -- How the job ends is noted there when it is sealed.
      if idemKey then
        fields[#fields + 1] = 'idem'
        fields[#fields + 1] = idem
      end
      if flow ~= tenant then
        fields[#fields + 1] = 'flow'
        fields[#fields + 1] = flow
      end
      if extra ~= '' then
        for name, value in pairs(cjson.decode(extra)) do
          fields[#fields + 1] = name
          fields[#fields + 1] = value
        end
      end
      if hold ~= '0' then
        fields[#fields + 1] = 'hold'
        fields[#fields + 1] = hold
        local account = keys.account(tenant)
        redis.call('HSETNX', keys.ledger(tenant, month), id .. ':hold', entry)
        redis.call('HINCRBY', account, 'held', hold)
        redis.call('HINCRBY', account, keyId .. ':held', hold)
      end
      redis.call('HSET', keys.job(id), unpack(fields))
      -- Workers read this one.
      if input == '' then redis.call('HSET', keys.ticket(id), 'ticket', ticket, 'deadline', deadline)
      else redis.call('HSET', keys.ticket(id), 'ticket', ticket, 'deadline', deadline, 'input', input) end
      add(KEYS[1], deadline, id)
      add(keys.backlog(queue), charge(queue, flow, amount), id)
      noteAdmitted(queue, flow, tonumber(expected), tonumber(weight), nowMs, distance <= 0)
      reply = { 'ok', id, '', ends, string.format('%.6g', distance) }
      add(keys.openOf(tenant), created, id)
      if hasListener(tenant) then woken[#woken + 1] = id end
    end
  end
  replies[#replies + 1] = reply or { 'ok', id }
end
flush()
saveShares()
if #woken > 0 then redis.call('PUBLISH', channels.admitted, table.concat(woken, ' ')) end
return replies
