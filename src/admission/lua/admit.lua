--[[
  Accept jobs: the ticket, the idempotency key and the indexes in one step, so that a crash leaves all or nothing.
  What is still missing after a crash here is the delivery by BullMQ; the attestor's sweep adds it, since the job
  stands in `open`.

    KEYS[1]  sorted set of open jobs          {shard}:open
    ARGV[1]  key prefix                       {shard}:
    ARGV[2]  life of an idempotency key, ms
    ARGV[3]  first look of the sweep, ms after creation
    ARGV[4+] per job: id, signed ticket, small input or "", tenant, model, queue, created ms, deadline ms,
             attempts, cost, idempotency key digest or "", body digest
  Returns per job {'ok', id}, or
    {'same', id}   the key was used with this body: that job answers
    {'other', id}  the key was used with another body
  Running it twice with the same arguments (a lost reply) answers 'same' or 'ok' and changes nothing.
]]
local prefix, idemTtl, firstLook = ARGV[1], ARGV[2], tonumber(ARGV[3])
local replies = {}
for at = 4, #ARGV, 12 do
  local id, ticket, input, tenant, model, queue, created, deadline, attempts, cost, idem, body = unpack(ARGV, at, at + 11)
  local reply
  if idem ~= '' then
    local key = prefix .. 'idem:' .. tenant .. ':' .. idem
    local seen = redis.call('GET', key)
    if seen then
      local kept = string.sub(seen, #body + 2)
      reply = { string.sub(seen, 1, #body) == body and 'same' or 'other', kept }
    else
      redis.call('SET', key, body .. ' ' .. id, 'PX', idemTtl)
    end
  end
  if not reply then
    reply = { 'ok', id }
    local key = prefix .. 'ticket:' .. id
    if redis.call('HSETNX', key, 'ticket', ticket) == 1 then
      local fields = { 'tenant', tenant, 'model', model, 'queue', queue,
        'created', created, 'deadline', deadline, 'attempts', attempts, 'cost', cost }
      if input ~= '' then
        fields[15] = 'input'
        fields[16] = input
      end
      redis.call('HSET', key, unpack(fields))
      redis.call('ZADD', KEYS[1], created + firstLook, id)
      redis.call('ZADD', prefix .. 'jobs:' .. tenant, created, id)
      redis.call('ZADD', prefix .. 'jobs:' .. tenant .. ':' .. model, created, id)
    end
  end
  replies[#replies + 1] = reply
end
return replies
