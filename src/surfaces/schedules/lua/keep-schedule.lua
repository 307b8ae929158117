--[[
  Write a schedule where it is still what the writer has read: a compare-and-set by its revision. With it go
  the time at which a courier looks at it, and the entry that says who changed it; see append-entry.lua.

    KEYS[1]  schedule                {shard}:schedule:<id>       ARGV[1]   key prefix
    KEYS[2]  schedules by the time   {shard}:schedules           ARGV[2]   id
             of the next look, ms                                ARGV[3]   revision that was read; 0: new
    KEYS[3]  schedules of the tenant {shard}:schedules:<tenant>  ARGV[4]   time of the next look, ms, or ""
                                                                 ARGV[5]   body, JSON
                                                                 ARGV[6]   runs, JSON
                                                                 ARGV[7]   request, JSON; of a new one only
                                                                 ARGV[8]   now, ms
                                                                 ARGV[9]   most schedules of a tenant
                                                                 ARGV[10]  number of the entry in the audit
                                                                           log, or "": nobody changed it
                                                                 ARGV[11]  text of the entry
  Returns {'kept'}; {'stale'} where it was changed or deleted since it was read, or is there already; {'full'}
  where the tenant has no room for a new one; or that the entry had not its place, see append-entry.lua.
]]
local id, revision, look, number = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[10])
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= revision then return { 'stale' } end
if revision == '0' and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[9]) then return { 'full' } end
local elsewhere = number and misplaced(number)
if elsewhere then return elsewhere end
if number then append(number, ARGV[11]) end
if revision == '0' then
  redis.call('HSET', KEYS[1], 'request', ARGV[7])
  redis.call('ZADD', KEYS[3], ARGV[8], id)
end
redis.call('HSET', KEYS[1], 'revision', tonumber(revision) + 1, 'body', ARGV[5], 'runs', ARGV[6])
if look == '' then redis.call('ZREM', KEYS[2], id) else redis.call('ZADD', KEYS[2], look, id) end
return { 'kept' }
