import { Type } from 'class-transformer';
import { IsBoolean, IsInt, IsOptional, Max, Min, ValidateNested } from 'class-validator';

/** What the fake provider is told to do. */
export class Simulation {
  /** How long the provider takes, in milliseconds; half a minute at most. */
  @IsInt()
  @Min(0)
  @Max(30_000)
  @IsOptional()
  delayMs?: number;

  /** Fail without charging. */
  @IsBoolean()
  @IsOptional()
  failBefore?: boolean;

  /** Charge, then fail: the caller can not know that it was charged. */
  @IsBoolean()
  @IsOptional()
  failAfter?: boolean;
}

export class PayOrder {
  @ValidateNested()
  @Type(() => Simulation)
  @IsOptional()
  simulate?: Simulation;
}
