--[[
  Put the stubs of jobs in the place of their records, and remove what else Redis has of what they held. It is
  the last step of an erasure: what else is to be removed was removed before. Erasing twice changes nothing,
  but that the append-only file is written anew once more.

    KEYS[1]  erasures   {shard}:erasures    sorted set: jobs that are to be erased
    KEYS[2]  unsealed   {shard}:unsealed    sorted set: jobs whose end is decided and not sealed
    ARGV[1]  key prefix
    ARGV[2+] per job: id, its stub, or "" where it has no record any more
  Returns how many were erased. One that is open or not sealed, or whose record is another than the one that
  the stub was made of, stays as it is, and so does its wish.
]]
local HEAD = '^1 %a+ %S+ %d+ %S+ %S+ '
local done = {}
for at = 2, #ARGV, 2 do
  local id, stub = ARGV[at], ARGV[at + 1]
  local key = keys.record(id)
  local head = string.match(redis.call('GETRANGE', key, 0, 199), HEAD)
  local isOver = redis.call('EXISTS', keys.ticket(id)) == 0 and not redis.call('ZSCORE', KEYS[2], id)
  if isOver and (not head or head == string.match(string.sub(stub, 1, 200), HEAD)) then
    if head then redis.call('SET', key, stub) end
    redis.call('UNLINK', keys.claims(id), keys.evidence(id), keys.lease(id), keys.chunks(id))
    redis.call('HDEL', keys.job(id), 'surface')
    done[#done + 1] = id
  end
end
if #done > 0 then
  -- What they held stands in the append-only file until that is written anew.
  redis.call('HINCRBY', keys.rewrite, 'wanted', #done)
  redis.call('ZREM', KEYS[1], unpack(done))
end
return #done
