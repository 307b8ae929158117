--[[
  Commit a worker's evidence or release for its epoch, or say that its engine began. It is stored once, and
  the attestor's stream tells it in the same step, one entry for all of them, so that a crash cannot leave it
  stored and unnoticed.

    KEYS[1]  lease of the first job, for routing in a cluster
    ARGV[1]  key prefix      ARGV[2]  worker id
    ARGV[3+] per job: id, epoch, token, kind ('e' evidence, 'r' release, 'b' begun), field, signed
             statement, output or "", token ids or ""; where it began, the secret of the claim stands for the
             field, and nothing for the rest
  Returns per job 'ok', or
    'fenced'   this epoch was closed, so that a later one may run, or it is not this worker's
    'final'    the job has ended without this, or there is no such job
  A second call with the same arguments (a lost reply) answers 'ok' and adds nothing.
]]
local worker = ARGV[2]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

-- The lease belongs to the committed claim or has run out: any other holder has claimed a later epoch, which
-- counts only when this one is closed, and then this commit is fenced.
local leases, committed, entered, begun = {}, {}, {}, {}

local function commit(id, epoch, token, kind, field, statement, output, tokens)
  local claims, ruling, evidence = keys.claims(id), keys.ruling(id), keys.evidence(id)
  local ruled = redis.call('HMGET', ruling, 'state', 'x' .. epoch)
  if ruled[1] then return 'final' end
  local claimed = redis.call('HGET', claims, 'e' .. epoch)
  if not claimed and redis.call('EXISTS', keys.ticket(id)) == 0 then return 'final' end
  if ruled[2] or not claimed then return 'fenced' end
  if string.find(claimed, worker .. ' ' .. token .. ' ', 1, true) ~= 1 then return 'fenced' end
  if kind == 'b' then
    if redis.call('HSETNX', claims, 'b' .. epoch, field .. ' ' .. now) == 1 then
      entered[#entered + 1] = 'b:' .. id .. ':' .. epoch
      begun[#begun + 1] = id
    end
    return 'ok'
  end
  if output ~= '' then redis.call('HSETNX', evidence, field .. ':o', output) end
  if tokens ~= '' then redis.call('HSETNX', evidence, field .. ':t', tokens) end
  if redis.call('HSETNX', evidence, field, statement) == 1 then
    if kind == 'e' then redis.call('HSETNX', claims, 'c' .. epoch, field .. ' ' .. now) end
    entered[#entered + 1] = kind .. ':' .. id .. ':' .. field
    leases[#leases + 1] = keys.lease(id)
    committed[#committed + 1] = id
  end
  return 'ok'
end

local replies = {}
for at = 3, #ARGV, 8 do
  replies[#replies + 1] = commit(unpack(ARGV, at, at + 7))
end
if #entered > 0 then
  -- Any worker of the pool can spoil this stream. What is stored and not entered is found by the sweep.
  redis.pcall('XADD', keys.attest(ARGV[3]), '*', 'jobs', table.concat(entered, ' '))
end
if #begun > 0 then redis.call('PUBLISH', channels.pieces(begun[1]), table.concat(begun, ' ')) end
if #leases > 0 then
  redis.call('DEL', unpack(leases))
  redis.call('PUBLISH', channels.commits(committed[1]), table.concat(committed, ' '))
end
return replies
