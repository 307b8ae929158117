--[[
  Included by the scripts that queue jobs again and release them.

  A queue's retries are at most a tenth of what is released of it: each release of a job that is tried for
  the first time earns a part of one, and each retry that counts as an attempt spends one. `retry-budget.ts`
  has the same arithmetic. What is not spent is kept up to a number, so that what one lost machine had in hand
  goes at once. A retry beyond that stands in `heldback` under the name of this budget, as under a limit.

    retryBudget                    its name there, which no limit has
    retriesLeft(kept)              what is left, by the kept text
    retriesEarned(left, firsts, slots)   what is left after so many first tries were released
]]
local retryBudget = '~retry'
local retryShare, mostRetries = 0.1, 100

local function retriesLeft(kept) return tonumber(kept or '') or mostRetries end

local function retriesEarned(left, firsts, slots)
  return math.min(math.max(mostRetries, slots, left), left + retryShare * firsts)
end
