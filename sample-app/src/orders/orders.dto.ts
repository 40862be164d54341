import { ApiProperty } from '@nestjs/swagger';
import { IsInt, IsOptional, IsString, Matches, Max, MaxLength, Min } from 'class-validator';

// PostgreSQL text holds no NUL character.
const NO_NUL = /^[^\0]*$/;

export class PlaceOrder {
  /** Lower case only: MySQL would find `tea` for `TEA`, and the other databases would not. */
  @ApiProperty({ example: 'tea' })
  @Matches(/^[a-z0-9-]{1,64}$/, { message: 'sku must be lower-case letters, digits or hyphens' })
  sku!: string;

  @ApiProperty({ type: 'integer', minimum: 1, maximum: 10_000, example: 2 })
  @IsInt()
  @Min(1)
  @Max(10_000)
  quantity!: number;
}

export class ChangeOrder {
  @ApiProperty({ type: 'integer', minimum: 1, maximum: 10_000, required: false })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10_000)
  quantity?: number;

  @ApiProperty({ maxLength: 500, required: false })
  @IsOptional()
  @IsString()
  @MaxLength(500)
  @Matches(NO_NUL, { message: 'note must not contain NUL characters' })
  note?: string;
}

export class SetNote {
  @ApiProperty({ maxLength: 500 })
  @IsString()
  @MaxLength(500)
  @Matches(NO_NUL, { message: 'note must not contain NUL characters' })
  note!: string;
}
