--[[
  Accept the jobs of requests: write tickets, idempotency keys, indexes, what is reserved for them and their
  places in the backlog, in one step. Of a request all jobs are accepted or none, and every limit is looked at
  for all of them together. A crash leaves all or nothing; after one right here the jobs wait for the next
  release, by whichever process.

    KEYS[1]  sorted set of open jobs          {shard}:open
    ARGV[1]  key prefix                       {shard}:
    ARGV[2+] for each request: number of its jobs, tenant, flow (who pays for places in the backlog), API key
             id, what it asks of limits as JSON or "", life of its idempotency keys in ms, and then
             for each job: id, signed ticket, small input or "", model, queue, created ms, deadline ms,
             attempts, cost, digest of the idempotency key or "", digest of the body, further fields of the
             job's hash as one JSON object or "", what it may cost at most or "", its reserve (reserve.lua)
             or "", what it costs its flow in tags, then of predictions: the flow's weight, the job's cost,
             what it is told but for its place or "", slots of the workers, ms for each job that must end
             first, ms for each unit of distance, ms that the slots together take for a unit of cost, and the
             limits of `AdmissionLimits` in ms: within, beyond, capped, crowd, grace; and in tags: few; the
             time (ms) before which it is not to begin, or ""; its rank among the jobs of its flow; its band
  What a request asks of limits:
    { key: whose budget it is beside the tenant's,
      caps: [ { of: "tenant" or "key", unit, span: "now", "total", "month" or "day", most, amount, kept } ],
      rates: [ { of, unit, quota, amount, kept } ],
      holds: [ [unit, amount] ], spends: [ [unit, amount] ],
      isKnown: true where it repeats a request, and makes nothing new }
  `kept` is what background work leaves to people. Returns for each request
    {'ok', id, ends, distance, …}  its jobs and their places; both "" where they stood there already, or
                                   have no place yet because they are not to begin yet
  or
    {'same', id, state, …}  the idempotency keys were used with these bodies, by the jobs with these ids,
                            which ended in these states ("" where that is not noted)
    {'other', id}           an idempotency key was used with another body
    {'gone'}                it repeats a request of which nothing is known any more
    {'never', of, unit, span, most, amount}   it asks for more than the limit allows at all
    {'spent', of, unit, span, rest, ms}       what is spent leaves only this, for this long (0: for ever)
    {'held', of, unit, span, rest, open}      what open jobs may cost leaves only this; or as many are open
    {'slow', of, unit, quota, left, ms until it is whole, ms until this can be taken}
    {'draining', pool}                        the pool of one of its jobs takes no new ones
    {'late', number, ends, distance, ahead, ties, backlogged ms}
                            the job with this number, from 1, would begin too late; figures of `Standing`
  Running it again with the same arguments (after a lost reply) returns 'same' or 'ok' and changes nothing.
]]
local replies = {}
local FIELDS = 31

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
  if open <= most then return open end
  local size = redis.call('HGET', keys.log, 'size') or '0'
  for _, id in ipairs(redis.call('ZRANGE', keys.unsealed, '-inf', '(' .. size, 'BYSCORE', 'LIMIT', 0, 500)) do
    if redis.call('ZSCORE', keys.openOf(tenant), id) then open = open - 1 end
  end
  return open
end

local function number(value) return tonumber(value or '0') or 0 end

-- Why a request does not keep within a limit, or nil.
local function beyond(tenant, key, cap)
  local most, amount = cap.most, cap.amount
  local function refused(kind, ...) return { kind, cap.of, cap.unit, cap.span, ... } end
  if amount > most then return refused('never', whole(most), whole(amount)) end
  if cap.of == 'tenant' and cap.unit == 'jobs' then
    local free = most - cap.kept - amount
    local open = openJobs(tenant, free)
    return open > free and refused('held', '0', tostring(open)) or nil
  end
  local name = (cap.of == 'key' and key .. ':' or '') .. cap.unit
  local account = redis.call('HMGET', keys.account(tenant), name .. ':held', name .. ':spent')
  local held, spent, untilMs = number(account[1]), 0, 0
  if cap.span == 'total' then
    spent = number(account[2])
  elseif cap.span ~= 'now' then
    spent = number(redis.call('HGET', keys.spent(tenant, period(clockMs, cap.span)), name))
    untilMs = periodEnd(clockMs, cap.span) - clockMs
  end
  if spent + amount > most then return refused('spent', whole(math.max(0, most - spent)), whole(untilMs)) end
  if spent + held + amount > most - cap.kept then
    return refused('held', whole(math.max(0, most - spent - held)), whole(held))
  end
end

-- Why a request is not accepted, or nil, and what it would take from its allowances.
local function refusal(tenant, ask)
  if ask.isKnown then return { 'gone' } end
  local granted = {}
  for _, cap in ipairs(ask.caps) do
    local reason = beyond(tenant, ask.key, cap)
    if reason then return reason end
  end
  for _, rate in ipairs(ask.rates) do
    if rate.amount > rate.quota then
      return { 'never', rate.of, rate.unit, 'minute', whole(rate.quota), whole(rate.amount) }
    end
    local id = rate.of == 'key' and ask.key or tenant
    local limit = keys.limit(rate.of, id, rate.unit)
    local state = allowance(limit, rate.quota, ALLOWANCE_MS, rate.amount, rate.kept)
    if state.wait > 0 then
      local left, wholeMs = told(state)
      return { 'slow', rate.of, rate.unit, whole(rate.quota), whole(math.max(0, left)), whole(wholeMs),
        whole(math.ceil(state.wait)) }
    end
    granted[#granted + 1] = state
  end
  return nil, granted
end

-- What is reserved for the jobs of a request, and what it has used up by being asked.
local function book(tenant, ask)
  for _, entry in ipairs(ask.holds) do hold(tenant, ask.key, entry[1], entry[2]) end
  for _, entry in ipairs(ask.spends) do spend(tenant, ask.key, entry[1], entry[2], clockMs) end
end

-- Jobs of the backlog, and of those that this call adds, up to a tag.
local function waitingUpTo(lane, tag)
  local set = keys.backlog(lane)
  local count = redis.call('ZCOUNT', set, '-inf', string.format('%.17g', tag))
  local added = additions[set] or {}
  for at = 1, #added, 2 do
    if added[at] <= tag then count = count + 1 end
  end
  return count
end

local inHand, others = {}, {}
-- Jobs of another band that wait and that no limit holds back; nearly always there are none.
local function waitingBeside(lane)
  others[lane] = others[lane] or redis.call('ZCOUNT', keys.backlog(lane), '-inf', '(' .. heldTag)
  return others[lane]
end

-- Jobs that come up at the present of a lane, and those of other bands until then.
local function tiesIn(lane)
  local ties = waitingUpTo(lane, presentOf(lane))
  return ties + jobsBeside(lane, ties, waitingBeside)
end

-- Where the flow's next job would stand behind `earlier` ones of its request: the jobs that must end before
-- it begins, those of the backlog among them, and the distance of its tag from the present. One that goes
-- before others of its flow comes up behind what is about to, and behind those that go before it, which are
-- taken to cost as much.
local function placeIn(lane, flow, slots, earlier, rank, charged)
  local queue = queueOf(lane)
  if not inHand[queue] then
    inHand[queue] = redis.call('ZCARD', keys.released(queue)) + redis.call('ZCARD', keys.leases(queue))
  end
  local tag = math.max(presentOf(lane), finishOf(lane, flow))
  if isBeforeOthers(lane, flow, rank) then
    tag = math.min(tag, presentOf(lane) + (1 + countBefore(lane, flow, rank)) * charged)
  end
  tag = tag + earlier.charged
  local ahead = waitingUpTo(lane, tag) + earlier.count
  ahead = ahead + jobsBeside(lane, ahead, waitingBeside)
  local ends = math.max(0, inHand[queue] + ahead - slots + 1)
  -- Where a place is free nothing waits, whatever was released last.
  local distance = ends == 0 and 0 or tag - presentOf(lane)
  return { ends = ends, distance = distance, ahead = ahead }
end

-- How long (ms) it is until a job may begin; 0 or less where it may at once.
local function leadOf(job) return (tonumber(job[29]) or 0) - clockMs end

-- Where a job stands when its time has come, behind `earlier` ones of its request that are due by then.
local function placeThen(lane, flow, job, now, earlier)
  local queue = queueOf(lane)
  local ahead = inHand[queue] + now.ahead
  local ties = inHand[queue] + tiesIn(lane)
  local of = { nowMs = clockMs, atMs = tonumber(job[29]), slots = tonumber(job[19]),
    perEnd = tonumber(job[20]), perCost = tonumber(job[22]), charge = tonumber(job[15]),
    weight = tonumber(job[16]), earlier = earlier }
  local place = duePlace(queue, flow, of, { ahead = ahead, distance = now.distance, ties = ties })
  place.waited = place.busy
  if place.busy >= leadOf(job) and now.distance > 0 then
    place.waited = place.busy + backloggedFor(lane, flow, clockMs)
  end
  return place
end

-- Why a job would begin too late, or nil: `excessOf` in admission-limits.ts says the same.
local function tooLate(lane, flow, place, perEnd, perTag, limits)
  local ends, distance, ahead = place.ends, place.distance, place.ahead
  local function startAfter(count)
    return count <= 0 and 0 or math.max(count * perEnd, distance * perTag + perEnd)
  end
  local function ties() return place.ties or tiesIn(lane) end
  local function waited() return place.waited or backloggedFor(lane, flow, clockMs) end
  local within, beyond, capped, crowd, grace, few = unpack(limits)
  local isLate
  if distance <= 0 then isLate = startAfter(ends) > within
  else
    isLate = startAfter(ends) > beyond
    if not isLate and distance > few and startAfter(ahead) > capped then
      isLate = waited() > grace or ties() * perEnd > crowd
    end
  end
  if not isLate then return end
  local waitedMs = distance > 0 and waited() or 0
  return { whole(ends), string.format('%.6g', distance), whole(ahead), whole(ties()), whole(waitedMs) }
end

-- The places of the jobs of a request, or why one of them would begin too late.
local function placesOf(flow, jobs)
  local places, before = {}, {}
  for at, job in ipairs(jobs) do
    local lane, charged, slots = laneOf(job[5], job[31]), tonumber(job[15]), tonumber(job[19])
    local earlier = before[lane] or { count = 0, charged = 0, due = 0 }
    local place = placeIn(lane, flow, slots, earlier, tonumber(job[30]), charged)
    -- What is not to begin yet takes its turn when its time comes, which is one for all jobs of a request.
    local isLater = leadOf(job) > 0
    if isLater and slots > 0 then place = placeThen(lane, flow, job, place, earlier.due) end
    before[lane] = { count = earlier.count + (isLater and 0 or 1),
      charged = earlier.charged + (isLater and 0 or charged), due = earlier.due + (isLater and 1 or 0) }
    places[at] = place
    -- Without workers nothing can be said of the wait.
    if slots > 0 then
      local limits = {}
      for part = 1, 6 do limits[part] = tonumber(job[22 + part]) end
      local late = tooLate(lane, flow, place, tonumber(job[20]), tonumber(job[21]), limits)
      if late then return nil, { 'late', tostring(at), unpack(late) } end
    end
  end
  return places
end

local woken, listeners = {}, {}
local function hasListener(tenant)
  if listeners[tenant] == nil then
    listeners[tenant] = redis.call('EXISTS', keys.webhooks(tenant)) == 1
      or redis.call('HEXISTS', keys.listeners, tenant) == 1
  end
  return listeners[tenant]
end

-- The jobs that were accepted under the keys of this request, or nil where it is a new one.
local function known(tenant, jobs)
  local reply = { 'same' }
  for at, job in ipairs(jobs) do
    local idem, body = job[10], job[11]
    if idem == '' then
      if at == 1 and redis.call('EXISTS', keys.ticket(job[1]), keys.record(job[1])) == 0 then return nil end
      reply = #reply == 1 and { 'ok' } or reply
      for _, value in ipairs({ job[1], '', '' }) do reply[#reply + 1] = value end
    else
      local seen = redis.call('GET', keys.idempotency(tenant, idem))
      if not seen then
        if at == 1 then return nil end
        return { 'other', job[1] }
      end
      local id, ended = string.match(seen, '(%S+) ?(%S*)$', #body + 2)
      if string.sub(seen, 1, #body) ~= body then return { 'other', id } end
      reply[#reply + 1] = id
      reply[#reply + 1] = ended
    end
  end
  return reply
end

local function accept(tenant, flow, keyId, idemTtl, job, place)
  local id, ticket, input, model, queue, created, deadline, attempts, cost, idem, body, extra, most, reserve,
    charged, weight, expected, offer = unpack(job)
  if idem ~= '' then redis.call('SET', keys.idempotency(tenant, idem), body .. ' ' .. id, 'PX', idemTtl) end
  local rank, isLater, lane = tonumber(job[30]), leadOf(job) > 0, laneOf(queue, job[31])
  local turn = not isLater and enterTurn(lane, flow, rank, id)
  local fields = { 'tenant', tenant, 'model', model, 'queue', queue, 'created', created,
    'attempts', attempts, 'cost', cost, 'charge', charged, 'key', keyId, 'rank', job[30] }
  local function note(name, value)
    if value == '' then return end
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  -- How the job ends is noted under its idempotency key when it is sealed.
  note('idem', idem)
  note('flow', flow ~= tenant and flow or '')
  note('band', lane ~= queue and job[31] or '')
  note('hold', most)
  note('reserve', reserve)
  local ends, distance = whole(place.ends), string.format('%.6g', place.distance)
  note('early', turn and 'a' or '')
  note('weight', (isLater or weight ~= '1') and weight or '')
  if isLater then
    note('notbefore', job[29])
  else
    note('told', offer ~= '' and offer .. ' ' .. ends .. ' ' .. distance or '')
  end
  local more = extra ~= '' and cjson.decode(extra) or {}
  for name, value in pairs(more) do note(name, value) end
  redis.call('HSET', keys.job(id), unpack(fields))
  -- Workers read this one.
  fields = { 'ticket', ticket, 'deadline', deadline }
  note('input', input)
  note('trace', more.trace or '')
  redis.call('HSET', keys.ticket(id), unpack(fields))
  add(KEYS[1], deadline, id)
  add(keys.openOf(tenant), created, id)
  if hasListener(tenant) then woken[#woken + 1] = id end
  if isLater then
    enterLater(queue, flow, tonumber(job[29]), id)
    return '', ''
  end
  if turn then add(keys.outOfTurn(lane), 0, turn) end
  add(keys.backlog(lane), charge(lane, flow, charged), id)
  noteAdmitted(lane, flow, tonumber(expected), tonumber(weight), clockMs, place.distance <= 0)
  return ends, distance
end

local standings = {}
-- The refusal of a request one of whose jobs is for a pool that is drained, or nil.
local function drained(jobs)
  for _, job in ipairs(jobs) do
    local pool = string.match(job[5], '^[^.]+')
    standings[pool] = standings[pool] or redis.call('HGET', keys.poolStates, pool) or ''
    if string.match(standings[pool], '^draining ') then return { 'draining', pool } end
  end
end

-- The reply to one request, which it writes down where it is accepted.
local function admit(tenant, flow, keyId, ask, idemTtl, jobs)
  local reply = known(tenant, jobs) or drained(jobs)
  if reply then return reply end
  local granted = {}
  if ask then
    reply, granted = refusal(tenant, ask)
    if reply then return reply end
  end
  local places, late = placesOf(flow, jobs)
  if late then return late end
  for _, state in ipairs(granted) do grant(state) end
  if ask then book(tenant, ask) end
  reply = { 'ok' }
  for number, job in ipairs(jobs) do
    local ends, distance = accept(tenant, flow, keyId, idemTtl, job, places[number])
    for _, value in ipairs({ job[1], ends, distance }) do reply[#reply + 1] = value end
  end
  return reply
end

local at = 2
while at <= #ARGV do
  local count, tenant, flow, keyId, asked, idemTtl = unpack(ARGV, at, at + 5)
  at = at + 6
  local jobs = {}
  for _ = 1, tonumber(count) do
    jobs[#jobs + 1] = { unpack(ARGV, at, at + FIELDS - 1) }
    at = at + FIELDS
  end
  replies[#replies + 1] = admit(tenant, flow, keyId, asked ~= '' and cjson.decode(asked), idemTtl,
    jobs)
end
flush()
saveShares()
if #woken > 0 then redis.call('PUBLISH', channels.admitted, table.concat(woken, ' ')) end
return replies
