--[[
  Claim jobs: the next epoch, once, and a lease on it. Claims are written with HSETNX only, because Redis lets
  a worker do nothing else there. An epoch therefore never changes its worker and never goes back.

    KEYS[1]  lease of the first job, for routing in a cluster
    ARGV[1]  key prefix      ARGV[2]  worker id      ARGV[3]  lease, ms
    ARGV[4]  most epochs     ARGV[5]  most entries that wait for attestation
    ARGV[6+] per job: id, token (of a secret that is chosen anew for each delivery; see begun.lua),
             and `begins` where an engine's place is free for it, else ""
  All jobs are of one pool.
  Returns per job {'ok', epoch, ticket, input, the trace that it is part of}, or
    {'missing'} {'final'} {'cancelled'} {'expired'} {'attesting'}   this delivery is no longer needed
    {'barred'}        this worker may not work now: it is on no list, suspended, revoked, in quarantine
    {'excluded'}      this worker's evidence for this job was refuted or is a vote; or its claims of it came
                      to nothing, others are there, and it is their turn for a while
    {'held', ms}      another epoch runs; try again after ms
    {'busy'}          too much waits for attestation
    {'exhausted'}     no epoch is left
  A second call with the same token (a lost reply) answers 'ok' with the same epoch. What was claimed is told
  to the attestor by one entry in the pool's stream; where that is lost, it is found by the documents.
]]
local worker, lease, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nowText = string.format('%.0f', now)
-- Any worker of the pool can spoil this key, and no claim fails by it; the attestor makes it anew.
local backlog = redis.pcall('XLEN', keys.attest(ARGV[6]))
local busy = type(backlog) == 'number' and backlog > tonumber(ARGV[5])

-- Quarantine counts at once; an attestor writes the other reasons, and this one, within a second.
local barred = redis.call('HEXISTS', keys.barred(ARGV[6]), worker) == 1
  or redis.call('SISMEMBER', keys.quarantined, worker) == 1

-- A worker that loses, gives back or lets lapse what it claims would get the same job again and again while
-- all others are busy, until no attempt or epoch is left. Where others are there it waits so long (ms) after
-- its first such claim was closed, and three times as long after each further one.
local standBackMs, longestStandBackMs, heardOfMs = 5000, 60000, 60000

local function othersAreHere(id)
  local from = now - heardOfMs
  -- Any worker of the pool can spoil this key: nobody is known to be there then.
  local heard = redis.pcall('ZCOUNT', keys.workers(id), from, '+inf')
  if type(heard) ~= 'number' then return false end
  local own = tonumber(redis.call('ZSCORE', keys.workers(id), worker) or 0)
  return heard > (own >= from and 1 or 0)
end

-- When (ms) the claim that was closed so came to nothing in this worker's hands; nil where it was not its, or
-- had no turn.
local function gaveUpAt(closing)
  local why, who, at, detail = string.match(closing, '^(%S+) (%S+) (%d+) ?(.*)$')
  if who ~= worker or detail == 'CLAIMED_TOO_EARLY' then return nil end
  return (why == 'lost' or why == 'released' or why == 'void') and tonumber(at) or nil
end

local function claim(id, token, word)
  local ticket = redis.call('HMGET', keys.ticket(id), 'ticket', 'deadline', 'cancel', 'input', 'trace')
  if not ticket[1] then return { 'missing' } end
  local claims, ruling, leaseKey = keys.claims(id), keys.ruling(id), keys.lease(id)
  local ruled = redis.call('HMGET', ruling, 'state', 'x1')
  if ruled[1] then return { 'final' } end
  -- What is claimed before the epoch before it is closed counts for nothing: anybody of the pool can write
  -- it.
  local epoch, closing = 0, true
  local givenUp, lastGivenUp = 0, 0
  while closing and epoch < most and redis.call('HEXISTS', claims, 'e' .. (epoch + 1)) == 1 do
    epoch = epoch + 1
    closing = epoch == 1 and ruled[2] or redis.call('HGET', ruling, 'x' .. epoch)
    if closing and (string.find(closing, 'refuted ' .. worker, 1, true) == 1
      or string.find(closing, 'voted ' .. worker, 1, true) == 1) then return { 'excluded' } end
    local at = closing and gaveUpAt(closing)
    if at then givenUp, lastGivenUp = givenUp + 1, at end
  end
  if not closing then
    if redis.call('HEXISTS', claims, 'c' .. epoch) == 1 then return { 'attesting' } end
    local holder = redis.call('HGET', claims, 'e' .. epoch)
    if string.find(holder, worker .. ' ' .. token .. ' ', 1, true) == 1 then
      return { 'ok', epoch, ticket[1], ticket[4], ticket[5] }
    end
    return { 'held', math.max(redis.call('PTTL', leaseKey), 200) }
  end
  if ticket[3] then return { 'cancelled' } end
  if now > tonumber(ticket[2]) then return { 'expired' } end
  if epoch >= most then return { 'exhausted' } end
  if busy then return { 'busy' } end
  if barred then return { 'barred' } end
  local standBack = math.min(standBackMs * 2 ^ (givenUp - 1), longestStandBackMs)
  if givenUp > 0 and now < lastGivenUp + standBack and othersAreHere(id) then return { 'excluded' } end
  redis.call('HSETNX', claims, 'e' .. (epoch + 1),
    worker .. ' ' .. token .. ' ' .. nowText .. (word == '' and '' or ' ' .. word))
  redis.call('SET', leaseKey, (epoch + 1) .. ' ' .. worker .. ' ' .. token, 'PX', lease)
  return { 'ok', epoch + 1, ticket[1], ticket[4], ticket[5] }
end

local replies, claimed, epochs, begun = {}, {}, {}, {}
for at = 6, #ARGV, 3 do
  local reply = claim(ARGV[at], ARGV[at + 1], ARGV[at + 2])
  if reply[1] == 'ok' then
    claimed[#claimed + 1] = ARGV[at]
    if ARGV[at + 2] ~= '' then begun[#begun + 1] = ARGV[at] end
    epochs[#epochs + 1] = 'c:' .. ARGV[at] .. ':' .. reply[2]
  end
  replies[#replies + 1] = reply
end
if #claimed > 0 then
  redis.pcall('XADD', keys.attest(claimed[1]), '*', 'jobs', table.concat(epochs, ' '))
end
if #begun > 0 then redis.call('PUBLISH', channels.pieces(begun[1]), table.concat(begun, ' ')) end
return replies
