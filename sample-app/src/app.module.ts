import { Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { IdempotencyModule } from 'nestjs-idempotency';
import { IdempotencyDashboardModule } from 'nestjs-idempotency/dashboard';
import { AuthModule } from './auth/auth.module.js';
import { Public } from './auth/public.decorator.js';
import type { AuthenticatedRequest } from './auth/users.js';
import { CheckoutModule } from './checkout/checkout.module.js';
import { DatabaseModule } from './database/database.module.js';
import type { DatabaseConfig } from './database/database.options.js';
import { LabModule } from './lab/lab.module.js';
import type { Broker } from './messaging/broker.js';
import { MessagingModule } from './messaging/messaging.module.js';
import { OrdersModule } from './orders/orders.module.js';
import { PaymentsModule } from './payments/payments.module.js';
import { ReceiptsModule } from './receipts/receipts.module.js';

@Module({})
export class AppModule {
  static forRoot(database: DatabaseConfig, broker: Broker, copies: number): DynamicModule {
    return {
      module: AppModule,
      imports: [
        DatabaseModule.forRoot(database),
        IdempotencyModule.forRoot({
          // One caller's key never meets another caller's, whatever they call it.
          scope: ({ user }: AuthenticatedRequest) => JSON.stringify([user.tenant, user.id]),
        }),
        // Nobody signs in to look at a sample; in production it would not start like this.
        ...(process.env.NODE_ENV === 'production'
          ? []
          : [
              IdempotencyDashboardModule.forRoot({
                open: true,
                decorators: [Public(), ApiExcludeController()],
              }),
            ]),
        MessagingModule.forRoot(broker, copies),
        AuthModule,
        OrdersModule,
        PaymentsModule,
        ReceiptsModule,
        CheckoutModule,
        LabModule.forRoot(database, broker),
      ],
    };
  }
}
