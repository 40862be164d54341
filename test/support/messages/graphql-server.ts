/**
 * Mutations in a process of their own: Jest cannot load the driver, whose CommonJS requires ES modules. Their runs are
 * counted here, and `open` lets those that are held go on.
 */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import {
  Args,
  Field,
  GraphQLModule,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius';
import { Idempotent, IdempotencyModule, memoryStore } from '../../../src/index.js';
import { TestGate } from '../gate.js';
import { serve } from '../shop-process.js';

@InputType()
class OrderInput {
  @Field(() => String, { nullable: true })
  key?: string;

  @Field(() => String)
  sku!: string;
}

@ObjectType()
class Placed {
  @Field(() => String)
  sku!: string;

  @Field(() => Int)
  run!: number;
}

/** What belongs to the stock stands below it. */
@ObjectType()
class Stock {
  @Field(() => Int)
  number!: number;
}

const gates = new Map<string, TestGate>();
let runs = 0;

function gateOf(sku: string): TestGate {
  const gate = gates.get(sku) ?? new TestGate();
  gates.set(sku, gate);
  return gate;
}

@Resolver()
class Orders {
  @Query(() => Int)
  runs(): number {
    return runs;
  }

  /** Answers once somebody is held. */
  @Query(() => Boolean)
  async reached(@Args('sku', { type: () => String }) sku: string): Promise<boolean> {
    await gateOf(sku).reached;
    return true;
  }

  @Query(() => Boolean)
  open(@Args('sku', { type: () => String }) sku: string): boolean {
    gateOf(sku).open();
    return true;
  }

  @Mutation(() => Placed)
  @Idempotent({ messageId: 'input.key' })
  place(@Args('input', { type: () => OrderInput }) { sku }: OrderInput): Placed {
    return { sku, run: ++runs };
  }

  @Mutation(() => Placed)
  @Idempotent({ onConcurrent: 'reject' })
  async held(@Args('sku', { type: () => String }) sku: string): Promise<Placed> {
    const run = ++runs;
    await gateOf(sku).pass();
    return { sku, run };
  }

  @Mutation(() => Placed)
  @Idempotent({ scope: ({ user }) => user as string }) // an object
  mixed(): Placed {
    return { sku: 'mixed', run: ++runs };
  }

  @Mutation(() => Placed)
  @Idempotent({ errors: 'store-all' })
  refuse(): Placed {
    throw new Error(`refused ${++runs}`);
  }
}

@Resolver(() => Stock)
class Stocks {
  @Mutation(() => Stock)
  stock(): Stock {
    return { number: 1 };
  }

  @Mutation(() => [Stock])
  stocks(): Stock[] {
    return [{ number: 1 }, { number: 2 }];
  }

  @ResolveField(() => Placed)
  @Idempotent()
  order(@Args('sku', { type: () => String }) sku: string): Placed {
    return { sku, run: ++runs };
  }
}

interface Request {
  readonly headers: Readonly<Record<string, string | undefined>>;
  user?: object;
}

/** As an authenticating hook would. */
function authenticated(request: Request): object {
  const id = request.headers['x-user'];
  request.user = id === undefined ? undefined : { id };
  return {};
}

@Module({
  imports: [
    GraphQLModule.forRoot<MercuriusDriverConfig>({
      driver: MercuriusDriver,
      autoSchemaFile: true,
      fieldResolverEnhancers: ['interceptors'],
      context: authenticated as never,
    }),
    IdempotencyModule.forRoot({ store: memoryStore() }),
  ],
  providers: [Orders, Stocks],
})
class ShopModule {}

await serve(ShopModule, ['fatal']);
