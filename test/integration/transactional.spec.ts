import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { ledgerPaths, openLedger } from '../support/ledger.js';
import { transactionalScenarios } from '../support/transactional-scenarios.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(ledgerPaths())('transactional mode on %s, with a pool of one', (path) => {
  transactionalScenarios(() => openLedger(path));
});
