import { Inject, Injectable } from '@nestjs/common';
import type { ClientProxy } from '@nestjs/microservices';
import { firstValueFrom, timeout } from 'rxjs';
import type { FulfilmentFigures } from '../fulfilment/fulfilment.controller.js';
import { FULFILMENT_FIGURES } from './order-placed.js';

/** Token of the client that speaks to the fulfilment service. */
export const FULFILMENT = Symbol('fulfilment');

@Injectable()
export class FulfilmentClient {
  constructor(@Inject(FULFILMENT) private readonly client: ClientProxy) {}

  async figures(): Promise<FulfilmentFigures> {
    const asked = this.client.send<FulfilmentFigures>(FULFILMENT_FIGURES, {}).pipe(timeout(2_000));
    return firstValueFrom(asked).catch(() => ({ reservations: -1, mails: -1 }));
  }
}
