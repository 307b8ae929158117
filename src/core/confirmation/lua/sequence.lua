--[[
  Give verdicts their places in the log. The order of the log is decided here and nowhere else: an entry
  stands in `tail` at the place that it will have for ever, and attestors only turn the list into tiles. Two
  attestors therefore build the same tree. The verdict is kept with its place in the same step, so that a
  case that is judged again (a crash, a lost reply, another attestor) keeps the verdict in the log.

    KEYS[1]  log      {shard}:log        hash: size and checkpoint that are published
    KEYS[2]  tail     {shard}:log:tail   list: entries from the last whole tile (256) of these on, in order
    ARGV[1]  key prefix
    ARGV[2+] per verdict: id, epoch, field, verdict, salt, entry
  Returns per verdict its index, or false where the job has ended, its tenant asked to stop it, or this epoch
  holds no evidence or is not the current one. The salt that counts stands in the ruling. Once a verdict has
  its place, it is the only end that the job can have.
]]
local published = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local next = published - published % 256 + redis.call('LLEN', KEYS[2])
local replies, entries = {}, {}
for at = 2, #ARGV, 6 do
  local id, epoch, field, verdict, salt, entry = unpack(ARGV, at, at + 5)
  local ruling = keys.ruling(id)
  local ruled = redis.call('HMGET', ruling, 'state', 'logged', 'x' .. epoch)
  local loggedEpoch, index
  if ruled[2] then loggedEpoch, index = string.match(ruled[2], '^(%d+) (%d+) ') end
  local claimed = redis.call('HMGET', keys.claims(id), 'c' .. epoch, 'e' .. (epoch + 1))
  if loggedEpoch == epoch and not ruled[1] then
    replies[#replies + 1] = tonumber(index)
  elseif ruled[1] or ruled[2] or ruled[3] or not claimed[1] or claimed[2]
    or redis.call('HEXISTS', keys.ticket(id), 'cancel') == 1 then
    replies[#replies + 1] = false
  else
    entries[#entries + 1] = entry
    local place = epoch .. ' ' .. next .. ' ' .. salt
    redis.call('HSET', ruling, 'logged', place, 'verdict', verdict, 'field', field)
    replies[#replies + 1] = next
    next = next + 1
  end
end
-- As many as Lua's stack holds with ease.
for at = 1, #entries, 1000 do
  redis.call('RPUSH', KEYS[2], unpack(entries, at, math.min(at + 999, #entries)))
end
return replies
