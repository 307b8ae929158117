--[[
  Give confirmations their places in the log, each with the record of its job. The order of the log is decided
  here and nowhere else: an entry stands in `tail` at the place that it will have for ever, and attestors only
  turn the list into tiles. Two attestors therefore build the same tree. A case that is judged again (a crash,
  a lost reply, another attestor) keeps its place and its record.

    KEYS[1]  log       {shard}:log         hash: size and checkpoint that are published
    KEYS[2]  tail      {shard}:log:tail    list: entries from the last whole tile (256) of these on, in order
    KEYS[3]  unsealed  {shard}:unsealed    sorted set: jobs by their place
    ARGV[1]  key prefix
    ARGV[2+] per confirmation: id, epoch, tenant, queue, its band, model, entry, body of the record, what it
             costs and the tokens that it used, or "" where nothing is reserved for it
  Returns per confirmation its index, or false where the job has ended, its tenant asked to stop it, or this
  epoch holds no evidence, is closed, or came before its turn. A job with a place has no other end: it is done
  when the published size is beyond it. It leaves every set of open jobs: nothing is to be looked for any
  more.
]]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local published = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local next = published - published % 256 + redis.call('LLEN', KEYS[2])
local replies, entries, unsealed = {}, {}, {}
for at = 2, #ARGV, 10 do
  local id, epoch, tenant, queue, band, model, entry, body, cost, tokens = unpack(ARGV, at, at + 9)
  local ruling = keys.ruling(id)
  local ruled = redis.call('HMGET', ruling, 'state', 'logged', 'x' .. epoch, 'x' .. (epoch - 1))
  local loggedEpoch, index
  if ruled[2] then loggedEpoch, index = string.match(ruled[2], '^(%d+) (%d+)$') end
  local claimed = redis.call('HEXISTS', keys.claims(id), 'c' .. epoch) == 1
  -- A confirmation that was given back from the disk has its place, of which these documents know nothing.
  local isRestored = not ruled[2] and redis.call('EXISTS', keys.record(id)) == 1
  if loggedEpoch == epoch and not ruled[1] then
    replies[#replies + 1] = tonumber(index)
  elseif ruled[1] or ruled[2] or ruled[3] or isRestored or not claimed or (epoch ~= '1' and not ruled[4])
    or redis.call('HEXISTS', keys.ticket(id), 'cancel') == 1 then
    replies[#replies + 1] = false
  else
    entries[#entries + 1] = entry
    redis.call('HSET', ruling, 'logged', epoch .. ' ' .. next)
    redis.call('SET', keys.record(id), table.concat({ '1 done', next, now, tenant, model, body }, ' '))
    unsealed[#unsealed + 1] = next
    unsealed[#unsealed + 1] = id
    leaveAll(queue, laneOf(queue, band), tenant, id)
    -- From here on it costs this and no more, whenever the books are written.
    if cost ~= '' then settle(id, tenant, tonumber(cost), tonumber(tokens), tonumber(tokens)) end
    replies[#replies + 1] = next
    next = next + 1
  end
end
flushLeft()
if #unsealed > 0 then redis.call('ZADD', KEYS[3], unpack(unsealed)) end
-- As many as Lua's stack holds with ease.
for at = 1, #entries, 1000 do
  redis.call('RPUSH', KEYS[2], unpack(entries, at, math.min(at + 999, #entries)))
end
return replies
