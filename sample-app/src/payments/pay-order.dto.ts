import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsBoolean, IsInt, IsOptional, Max, Min, ValidateNested } from 'class-validator';

/** What shall go wrong. */
export class Simulation {
  /** How long the provider takes, in milliseconds; half a minute at most. */
  @ApiProperty({ type: 'integer', minimum: 0, maximum: 30_000, required: false })
  @IsInt()
  @Min(0)
  @Max(30_000)
  @IsOptional()
  delayMs?: number;

  /** The provider declines, for good. */
  @ApiProperty({ required: false })
  @IsBoolean()
  @IsOptional()
  decline?: boolean;

  /** The provider fails without charging. */
  @ApiProperty({ required: false })
  @IsBoolean()
  @IsOptional()
  failBefore?: boolean;

  /** The provider charges, then fails: nobody but the provider can know that it was charged. */
  @ApiProperty({ required: false })
  @IsBoolean()
  @IsOptional()
  failAfter?: boolean;

  /** The shop fails when it knows of the charge and has not booked it, in the first attempt. */
  @ApiProperty({ required: false })
  @IsBoolean()
  @IsOptional()
  failBooking?: boolean;
}

export class PayOrder {
  @ApiProperty({ required: false })
  @ValidateNested()
  @Type(() => Simulation)
  @IsOptional()
  simulate?: Simulation;
}
