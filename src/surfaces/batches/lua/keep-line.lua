--[[
  Keep what became of a line of a batch, once, and count it in the same step: progress never goes back. Who no
  longer holds the batch writes nothing.

    KEYS[1]  batch                 {shard}:batch:<id>        ARGV[1]  who holds the batch
    KEYS[2]  its lines and parts   {shard}:batchparts:<id>   ARGV[2]  field of the line
    KEYS[3]  its lease             {shard}:batchlease:<id>   ARGV[3]  the line
    KEYS[4]  jobs of batches       {shard}:batchjobs         ARGV[4]  'completed' or 'failed'
    KEYS[5]  erasures              {shard}:erasures          ARGV[5]  when (ms) such of its jobs are erased
                                                                      as are not to be stored
                                                             ARGV[6+] its jobs, which may be forgotten now
  Returns 'kept' or 'lost'.
]]
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 'lost' end
if redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3]) == 1 then redis.call('HINCRBY', KEYS[1], ARGV[4], 1) end
if #ARGV > 5 then redis.call('ZREM', KEYS[4], unpack(ARGV, 6)) end
-- One that is not sealed yet is not listed there: enter.lua comes after that.
for at = 6, #ARGV do redis.call('ZADD', KEYS[5], 'XX', 'LT', ARGV[5], ARGV[at]) end
return 'kept'
