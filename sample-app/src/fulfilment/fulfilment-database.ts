/** The DataSource has a name of its own, as the one of the orders may be in the same process. */
export const FULFILMENT_DATABASE = 'fulfilment';
