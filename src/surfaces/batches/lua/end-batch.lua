--[[
  End a batch: its last status, its numbers and its files, in one step and once. Who no longer holds the batch
  writes nothing, and nothing is written about a batch that is over.

    KEYS[1]  batch                 {shard}:batch:<id>        ARGV[1]  key prefix
    KEYS[2]  its lease             {shard}:batchlease:<id>   ARGV[2]  JSON, see below
    KEYS[3]  its lines and parts   {shard}:batchparts:<id>   ARGV[3]  who holds the batch
    KEYS[4]  files                 {shard}:files
  ARGV[2] is { status, from: [statuses], atMs, keepMs, fields: [name, value, …],
               files: [ { id, tenant, createdMs, expiresMs, fields: [name, value, …] } ] }
  Returns 'moved' or 'refused'.
]]
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 'refused' end
local ending = cjson.decode(ARGV[2])
local status = redis.call('HGET', KEYS[1], 'status')
local isAllowed = false
for _, from in ipairs(ending.from) do isAllowed = isAllowed or from == status end
if not isAllowed then return 'refused' end
for _, file in ipairs(ending.files) do
  redis.call('HSET', keys.file(file.id), unpack(file.fields))
  redis.call('ZADD', keys.filesOf(file.tenant), file.createdMs, file.id)
  redis.call('ZADD', KEYS[4], file.expiresMs, file.id)
end
redis.call('HSET', KEYS[1], 'status', ending.status, ending.status .. 'Ms',
  string.format('%.0f', ending.atMs), unpack(ending.fields))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ending.keepMs))
-- The pieces of its results stand in its files now; their bytes are removed.
for _, record in ipairs(redis.call('HVALS', KEYS[3])) do
  local digest = cjson.decode(record).sha256
  if digest then redis.call('ZADD', keys.filesGone, string.format('%.0f', ending.atMs), digest) end
end
redis.call('UNLINK', KEYS[3])
return 'moved'
