/** The wire protocol's version. It rises with every change that an older peer would misread. */
export const PROTOCOL_VERSION = 5;
