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
             ledger month, ledger entry
  Returns for each job {'ok', id}, or
    {'same', id, state}  the idempotency key was used with this body, by the job with this id, which ended in
                         this state ("" where that is not noted)
    {'other', id}  the idempotency key was used with another body
    {'busy', n}    the tenant has n open jobs, and may not have more
    {'spent', n}   the tenant or the key would exceed its spending limit; n is what is left
  Running it again with the same arguments (after a lost reply) returns 'same' or 'ok' and changes nothing.
]]
local idemTtl = ARGV[2]
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

local woken, listeners = {}, {}
local function hasListener(tenant)
  if listeners[tenant] == nil then
    listeners[tenant] = redis.call('EXISTS', keys.webhooks(tenant)) == 1
      or redis.call('HEXISTS', keys.listeners, tenant) == 1
  end
  return listeners[tenant]
end

for at = 3, #ARGV, 21 do
  local id, ticket, input, tenant, flow, model, queue, created, deadline, attempts, cost, idem, body, keyId,
    extra, most, hold, tenantSpend, keySpend, month, entry = unpack(ARGV, at, at + 20)
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
    if not reply then
      if idemKey then redis.call('SET', idemKey, body .. ' ' .. id, 'PX', idemTtl) end
      local fields = { 'tenant', tenant, 'model', model, 'queue', queue, 'created', created,
        'attempts', attempts, 'cost', cost, 'key', keyId }
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
      add(keys.backlog(queue), startTag(queue, flow, cost), id)
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
