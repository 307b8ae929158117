--[[
  Record the ends of jobs, in one step: usage, ledger, payment, the tenant's events and the webhook messages
  to send. Each end is recorded once, because the cursor only grows. Each event is recorded once, because the
  rank of a subject's last event only grows.

    KEYS[1]  job ends: cursor    {shard}:jobends        ARGV[1]  key prefix
    KEYS[2]  event cursors       {shard}:eventcursor    ARGV[2]  JSON, see below
    KEYS[3]  endpoints by time   {shard}:deliveries     ARGV[3]  now, ms
    KEYS[4]  open batches        {shard}:batches        ARGV[4]  maximum events of a tenant's feed
    KEYS[5]  health of endpoints                        ARGV[5]  ms to keep usage and payments
             {shard}:webhookhealth                      ARGV[6]  ms to keep messages
    KEYS[6]  messages waiting                           ARGV[7]  most messages that wait for an endpoint
             {shard}:webhookwaiting                     ARGV[8]  most messages that wait for a tenant's
    KEYS[7]  refuted attempts  {shard}:refutations      ARGV[9]  now, as text
                                                        ARGV[10] JSON, what the dashboard counts, see below
                                                        ARGV[11] refuted attempts that are kept
                                                        ARGV[12] ms after the window of a batch for which its
                                                                 jobs are spared
                                                        ARGV[13] ms until such a job is erased as is not
                                                                 to be stored, once it was read
  ARGV[2] is a list of
    { subject, tenant,
      batch: true for a batch that is over, else absent,
      end: { score, day, month, usage: { field: amount }, tokens: as many as it used,
             ledger: { entry, currency, charge, key } or absent,
             payment: { field: value } or absent,
             batchLine: which line of a batch needs it, or absent,
             memory: true where its answer is to be remembered, else absent }
           for a job that has ended, else absent,
      events: [ { rank, type, data, messages: [ { id, endpoint, target, fields: { field: value } } ] } ] }
  ARGV[10] is { tally: [ { period, lifeMs, fields: [ [field, amount] ] } ], refutations: [ text ] }. It is the
  sum over all ends of this call, and is added where all of them were new: where another courier has entered
  some of them, their statistics stay uncounted, and never count twice.
  Returns the number of ends that were new.
]]
local now = ARGV[3]

-- When an open batch that has not read this line yet will no longer wait for a courier (ms), or nil.
local function neededUntil(line)
  local batch, number, part = string.match(line, '^(%S+) (%d+) (%d+)$')
  if not batch then return nil end
  local status, expires = unpack(redis.call('HMGET', keys.batch(batch), 'status', 'expiresMs'))
  local isOpen = status == 'in_progress' or status == 'cancelling' or status == 'finalizing'
  if not isOpen or not expires then return nil end
  local known = redis.call('HMGET', keys.batchParts(batch), part, 'l' .. number)
  if known[1] or known[2] then return nil end
  return expires + ARGV[12]
end

-- What an open batch has not read yet is spared by retention: until its line is kept, or its window is long
-- over: it is read after that too where no courier ran. What no batch needs and is not to be stored is erased
-- soon.
local function spare(id, line)
  local untilMs = neededUntil(line)
  if untilMs then
    redis.call('ZADD', keys.batchJobs, string.format('%.0f', untilMs), id)
  else
    redis.call('ZADD', keys.erasures, 'XX', 'LT', string.format('%.0f', now + ARGV[13]), id)
  end
end
local cursor = tonumber(redis.call('HGET', KEYS[1], 'cursor') or 0)
local entered = 0

-- Adds usage to its day, and moves what was reserved to what is spent. All of it counts in the day and month
-- of the end's place among the ends, which only grows: what is over never changes, and every view agrees.
local function enter(tenant, id, close)
  local usage = keys.usage(tenant, close.day)
  for field, amount in pairs(close.usage) do
    redis.call('HINCRBY', usage, field, string.format('%.0f', amount))
  end
  redis.call('PEXPIRE', usage, ARGV[5])
  local was = payout(id, tenant)
  if was then spend(tenant, was.key, 'tokens', math.min(close.tokens, was.tokens), close.score) end
  local line = close.ledger
  if not line or redis.call('HSETNX', keys.ledger(tenant, close.month), id, line.entry) == 0 then return end
  redis.call('SADD', keys.ledgers, tenant .. ' ' .. close.month)
  spend(tenant, was and was.key or line.key, line.currency, line.charge, close.score)
end

-- Records what is to become of a payment, once. The settler finds it in the list of due payments.
local function recordPayment(id, payment)
  local key = keys.payment(id)
  if redis.call('EXISTS', key) == 1 then return end
  for name, value in pairs(payment) do redis.call('HSET', key, name, value) end
  redis.call('PEXPIRE', key, ARGV[5])
  if payment.state == 'due' then redis.call('ZADD', keys.payments, now, id) end
end

local function tell(tenant, type, data)
  redis.call('XADD', keys.feed(tenant), 'MAXLEN', '~', ARGV[4], '*', 'type', type, 'data', data)
end

-- Queues a webhook message, once.
local function send(tenant, message)
  local key = keys.webhookMessage(message.id)
  if redis.call('EXISTS', key) == 1 then return end
  local name, queue = tenant .. ' ' .. message.target, keys.webhookQueue(tenant, message.target)
  if redis.call('ZCARD', queue) >= tonumber(ARGV[7])
    or tonumber(redis.call('HGET', KEYS[6], tenant) or 0) >= tonumber(ARGV[8]) then
    lose(tenant, message.target, ARGV[4], ARGV[9])
    return
  end
  local fields = {}
  for name, value in pairs(message.fields) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  redis.call('HSET', key, 'tenant', tenant, 'endpoint', message.endpoint, 'status', 'pending',
    'attempts', '0', 'created', now, unpack(fields))
  redis.call('PEXPIRE', key, ARGV[6])
  redis.call('HINCRBY', KEYS[6], tenant, 1)
  redis.call('ZADD', queue, now, message.id)
  -- An endpoint that fails rests, whatever comes for it.
  local rests = tonumber(string.match(redis.call('HGET', KEYS[5], name) or '', '(%d+)$') or 0)
  redis.call('ZADD', KEYS[3], 'LT', string.format('%.0f', math.max(tonumber(now), rests)), name)
  local log = keys.webhookMessagesOf(tenant, message.endpoint)
  redis.call('ZADD', log, now, message.id)
  redis.call('ZREMRANGEBYRANK', log, 0, -1001)
  redis.call('PEXPIRE', log, ARGV[6])
end

-- Appends the events that are newer than the subject's last one to the tenant's feed.
local function publish(tenant, subject, events)
  local last = tonumber(redis.call('HGET', KEYS[2], subject) or -1)
  for _, event in ipairs(events) do
    if event.rank > last then
      tell(tenant, event.type, event.data)
      for _, message in ipairs(event.messages) do send(tenant, message) end
      last = event.rank
      redis.call('HSET', KEYS[2], subject, string.format('%.0f', last))
    end
  end
end

local ends = 0
for _, item in ipairs(cjson.decode(ARGV[2])) do
  local close = item['end']
  if close then ends = ends + 1 end
  if item.batch then
    -- A batch that is over stays on the list of open ones until its end is recorded here.
    if redis.call('ZREM', KEYS[4], item.subject) == 1 then
      publish(item.tenant, item.subject, item.events)
      redis.call('HDEL', KEYS[2], item.subject)
    end
  elseif not close then
    -- The events of a job whose end is decided are recorded with its end.
    if redis.call('EXISTS', keys.ticket(item.subject)) == 1
      and redis.call('EXISTS', keys.record(item.subject)) == 0
      and redis.call('HEXISTS', keys.ruling(item.subject), 'state') == 0 then
      publish(item.tenant, item.subject, item.events)
    end
  elseif close.score > cursor then
    enter(item.tenant, item.subject, close)
    if close.payment then recordPayment(item.subject, close.payment) end
    if close.batchLine then spare(item.subject, close.batchLine) end
    if close.memory then redis.call('ZADD', keys.memoryWork, now, item.subject) end
    publish(item.tenant, item.subject, item.events)
    redis.call('HDEL', KEYS[2], item.subject)
    -- What the service alone noted of the job has had its use.
    redis.call('UNLINK', keys.job(item.subject))
    cursor = close.score
    entered = entered + 1
  end
end
if entered > 0 and entered == ends then
  local counted = cjson.decode(ARGV[10])
  for _, update in ipairs(counted.tally) do
    local tally = keys.tally(update.period)
    for _, field in ipairs(update.fields) do
      redis.call('HINCRBY', tally, field[1], string.format('%.0f', field[2]))
    end
    redis.call('PEXPIRE', tally, string.format('%.0f', update.lifeMs))
  end
  for _, text in ipairs(counted.refutations) do redis.call('LPUSH', KEYS[7], text) end
  if #counted.refutations > 0 then redis.call('LTRIM', KEYS[7], 0, ARGV[11] - 1) end
end
if entered > 0 then redis.call('HSET', KEYS[1], 'cursor', string.format('%.17g', cursor)) end
return entered
