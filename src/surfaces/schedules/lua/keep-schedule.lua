--[[
  Write a schedule where it is still what the writer has read: a compare-and-set by its revision. With it go
  the time at which a courier looks at it, and who changed it.

    KEYS[1]  schedule                {shard}:schedule:<id>       ARGV[1]   key prefix
    KEYS[2]  schedules by the time   {shard}:schedules           ARGV[2]   id
             of the next look, ms                                ARGV[3]   revision that was read; 0: new
    KEYS[3]  schedules of the tenant {shard}:schedules:<tenant>  ARGV[4]   time of the next look, ms, or ""
                                                                 ARGV[5]   body, JSON
                                                                 ARGV[6]   runs, JSON
                                                                 ARGV[7]   request, JSON; of a new one only
                                                                 ARGV[8]   now, ms
                                                                 ARGV[9]   most schedules of a tenant
                                                                 ARGV[10]  who changed it, or "": nobody
                                                                 ARGV[11]  what they did
                                                                 ARGV[12]  the change, JSON
                                                                 ARGV[13]  most entries of the audit log
  Returns 'kept'; 'stale' where it was changed or deleted since it was read, or is there already; 'full' where
  the tenant has no room for a new one. The API may only append to the audit log, hence it is not among KEYS.
]]
local id, revision, look, by = ARGV[2], ARGV[3], ARGV[4], ARGV[10]
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= revision then return 'stale' end
if revision == '0' then
  if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[9]) then return 'full' end
  redis.call('HSET', KEYS[1], 'request', ARGV[7])
  redis.call('ZADD', KEYS[3], ARGV[8], id)
end
redis.call('HSET', KEYS[1], 'revision', tonumber(revision) + 1, 'body', ARGV[5], 'runs', ARGV[6])
if look == '' then redis.call('ZREM', KEYS[2], id) else redis.call('ZADD', KEYS[2], look, id) end
if by ~= '' then
  local entry = { 'by', by, 'action', ARGV[11], 'target', id, 'detail', ARGV[12] }
  redis.call('XADD', keys.audit, 'MAXLEN', '~', ARGV[13], '*', unpack(entry))
end
return 'kept'
