/** A tenant's key without limits. */
export const SUBMITTER = { tenant: 'acme', keyId: 'test', limits: { tenant: {}, key: {} } };
