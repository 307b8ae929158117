--[[
  Read what an attestor needs to judge: the ticket, the claimant of the epoch, and what was committed. It is
  one snapshot, and never longer than its bounds, whatever a hostile worker has stored.

    KEYS[1]  sorted set of open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  most epochs   ARGV[3]  longest statement   ARGV[4]  longest output
    ARGV[5+] per case: id, epoch ("" for the current one), field ("" for the committed one)
  Returns {now, per case false or
    { ticket, tenant, queue, model, created, deadline, cost, cancel, state, current epoch, claim, commit,
      closing, field, statement length, statement, output length, output,
      lease ms (0 where an epoch was named), epoch and place in the log, attempts, key, hold, surface, store,
      reserve, flow, told,
      { claim, beginning, commit, closing, … of the epochs before }, beginning, why it is to be cancelled,
      the trace that it is part of, its band }}
]]
local most, longest, longestOutput = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local cases = { time[1] * 1000 + math.floor(time[2] / 1000) }
-- A value and its length; too long a one stays here.
local function bounded(value, limit)
  if not value then return 0, false end
  return #value, #value <= limit and value
end
for at = 5, #ARGV, 3 do
  local id, wanted, field = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local ticket = redis.call('HMGET', keys.ticket(id), 'ticket', 'deadline', 'cancel', 'cancelwhy')
  if ticket[1] then
    local job = redis.call('HMGET', keys.job(id), 'tenant', 'queue', 'model', 'created', 'cost', 'attempts',
      'key', 'hold', 'surface', 'store', 'reserve', 'flow', 'told', 'trace', 'band')
    local case = { ticket[1], job[1], job[2], job[3], job[4], ticket[2], job[5], ticket[3] }
    local claims, ruling, evidence = keys.claims(id), keys.ruling(id), keys.evidence(id)
    -- A stream entry names the current epoch nearly always: claimed, the one before is closed, and this one
    -- is not, or nobody has claimed the next. Anybody of the pool can claim any epoch; none counts before its
    -- turn.
    local epoch = tonumber(wanted) or 0
    local claimed = redis.call('HMGET', claims, 'e' .. epoch, 'c' .. epoch, 'b' .. epoch, 'e' .. (epoch + 1))
    local around = redis.call('HMGET', ruling, 'state', 'x' .. epoch, 'logged', 'x' .. (epoch - 1))
    local isNext = epoch == 1 or (epoch > 1 and epoch <= most and around[4])
    if not isNext or not claimed[1] or (around[2] and claimed[4]) then
      local closed = true
      epoch = 0
      while closed and epoch < most and redis.call('HEXISTS', claims, 'e' .. (epoch + 1)) == 1 do
        epoch = epoch + 1
        closed = redis.call('HEXISTS', ruling, 'x' .. epoch) == 1
      end
      if wanted == '' then
        claimed = redis.call('HMGET', claims, 'e' .. epoch, 'c' .. epoch, 'b' .. epoch)
      end
    end
    local about = wanted == '' and epoch or math.min(tonumber(wanted), most)
    local ruled = around
    if wanted ~= tostring(about) then ruled = redis.call('HMGET', ruling, 'state', 'x' .. about, 'logged') end
    local _, claim = bounded(claimed[1], 256)
    local _, commit = bounded(claimed[2], 256)
    if field == '' and commit then field = string.match(commit, '^%S+') or '' end
    local length, statement = 0, false
    local outputLength, output = 0, false
    if field ~= '' then
      local said = redis.call('HMGET', evidence, field, field .. ':o')
      length, statement = bounded(said[1], longest)
      outputLength, output = bounded(said[2], longestOutput)
    end
    case[9] = ruled[1]
    case[10] = epoch
    case[11] = claim
    case[12] = commit
    case[13] = ruled[2]
    case[14] = field
    case[15] = length
    case[16] = statement
    case[17] = outputLength
    case[18] = output
    -- Evidence that was named is judged whether or not its lease has run out.
    case[19] = wanted == '' and redis.call('PTTL', keys.lease(id)) or 0
    case[20] = ruled[3]
    for part = 6, 13 do case[part + 15] = job[part] end
    local before = {}
    for earlier = 1, about - 1 do
      local said = redis.call('HMGET', claims, 'e' .. earlier, 'b' .. earlier, 'c' .. earlier)
      for part = 1, 3 do before[#before + 1] = select(2, bounded(said[part], 256)) end
      before[#before + 1] = redis.call('HGET', ruling, 'x' .. earlier)
    end
    case[29] = before
    case[30] = select(2, bounded(claimed[3], 256))
    case[31] = ticket[4]
    case[32] = job[14]
    case[33] = job[15]
    cases[#cases + 1] = case
  else
    cases[#cases + 1] = false
  end
end
return cases
