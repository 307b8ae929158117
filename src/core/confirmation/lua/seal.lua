--[[
  Seal jobs that have ended: what was open of them goes, and their end is entered where ends are looked for.
  Sealing twice changes nothing.

    KEYS[1]  log       {shard}:log       hash: size and checkpoint that are published
    KEYS[2]  unsealed  {shard}:unsealed  sorted set: jobs by their place
    KEYS[3]  all ended {shard}:ended     sorted set: jobs by the time (ms) of their end
    KEYS[4]  overfull  {shard}:overfull  set: tenants that have more ended jobs than are kept
    ARGV[1]  key prefix     ARGV[2]  most ended jobs of a tenant
    ARGV[3]  how long (ms) after its end a job that is not to be stored is erased
    ARGV[4]  the same of a job of a batch, which is to be read for its line before
    ARGV[5+] per job: id, time of creation (ms), its record, or "" where a confirmation has brought it
  Returns how many were sealed. A confirmation whose place is not published yet stays as it is.
]]
local size = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
-- No two jobs end at the same moment, and none before another that was seen: a reader of the ends needs one
-- number.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local newest = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2] or 0)
local sealed, ended, opened, endedOf, gone, rulings, notes = {}, {}, {}, {}, {}, {}, {}

local function into(sets, tenant, ...)
  sets[tenant] = sets[tenant] or {}
  for _, value in ipairs({ ... }) do sets[tenant][#sets[tenant] + 1] = value end
end

for at = 5, #ARGV, 3 do
  local id, created, record = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local key = keys.record(id)
  local head = redis.call('GETRANGE', key, 0, 199)
  if head == '' and record ~= '' then
    redis.call('SET', key, record)
    head = string.sub(record, 1, 200)
  end
  local state, place, ending, tenant, body = string.match(head, '^1 (%a+) (%S+) (%d+) (%S+) %S+ ()')
  if place == '-' or (place and tonumber(place) < size) then
    sealed[#sealed + 1] = id
    if not redis.call('ZSCORE', KEYS[3], id) then
      newest = math.max(now, newest + 1 / 1024)
      ended[#ended + 1] = string.format('%.17g', newest)
      ended[#ended + 1] = id
    end
    into(endedOf, tenant, created, id)
    into(opened, tenant, id)
    for _, name in ipairs({ keys.ticket, keys.claims, keys.evidence, keys.lease }) do
      gone[#gone + 1] = name(id)
    end
    rulings[#rulings + 1] = keys.ruling(id)
    -- What only the courier needs goes when it has entered the end.
    local noted = redis.call('HMGET', keys.job(id),
      'webhook', 'payment', 'queue', 'idem', 'reserve', 'trace', 'batch', 'band')
    -- The bit `unstored` of the body, see job-record.ts.
    if bit.band(string.byte(head, body) or 0, 32) ~= 0 then
      local due = ending + (noted[7] and ARGV[4] or ARGV[3])
      redis.call('ZADD', keys.erasures, 'LT', string.format('%.0f', due), id)
    end
    if noted[4] then
      local idem = keys.idempotency(tenant, noted[4])
      local used = redis.call('GET', idem)
      if used and string.match(used, '(%S+)$') == id then
        redis.call('SET', idem, used .. ' ' .. state, 'XX', 'KEEPTTL')
      end
    end
    if noted[3] then leaveAll(noted[3], laneOf(noted[3], noted[8]), tenant, id) end
    if not noted[1] and not noted[2] and not noted[5] and not noted[6] and not noted[7] then
      notes[#notes + 1] = keys.job(id)
    end
  elseif not place then
    -- Nothing is known of it any more.
    sealed[#sealed + 1] = id
  end
end

if #sealed == 0 then return 0 end
redis.call('ZREM', KEYS[2], unpack(sealed))
flushLeft()
-- Redis asks of one selector of a user that it allows a command on all of its keys.
if #rulings > 0 then redis.call('UNLINK', unpack(rulings)) end
if #notes > 0 then redis.call('UNLINK', unpack(notes)) end
for at = 1, #gone, 1000 do redis.call('UNLINK', unpack(gone, at, math.min(at + 999, #gone))) end
if #ended > 0 then redis.call('ZADD', KEYS[3], unpack(ended)) end
for tenant, ids in pairs(opened) do
  redis.call('ZREM', keys.openOf(tenant), unpack(ids))
  redis.call('ZADD', keys.endedOf(tenant), unpack(endedOf[tenant]))
  local kept = redis.call('ZCARD', keys.endedOf(tenant))
  if kept > tonumber(ARGV[2]) then redis.call('SADD', KEYS[4], tenant) end
end
redis.call('PUBLISH', channels.changes, table.concat(sealed, ' '))
return #sealed
