-- The value of a key, or who loads it. The caller becomes the one, where nobody is.
-- KEYS: the key, its lease. ARGV: a token of the caller, how long a lease lasts in ms.
-- Answers: {'value', value}, {'absent'}, {'wait', ms until the lease ends, token of its
-- holder}, {'load'}.

local value = redis.call('GET', KEYS[1])
if value then return { 'value', value } end
local holder = redis.call('GET', KEYS[2])
if holder == 'absent' then return { 'absent' } end
-- The answer to this very look was lost, and it was sent again.
if holder == ARGV[1] then return { 'load' } end
if holder then return { 'wait', redis.call('PTTL', KEYS[2]), holder } end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return { 'load' }
