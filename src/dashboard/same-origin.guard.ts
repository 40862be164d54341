import {
  ForbiddenException,
  Injectable,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Only the page's own script sends it: a form cannot, and another site only where CORS would let it. */
export const PAGE_HEADER = 'x-idempotency-dashboard';

/** Turns away what another site has a browser send, even where the application's CORS would let it. */
@Injectable()
export class SameOriginGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ readonly headers: Headers }>();
    if (headers[PAGE_HEADER] === undefined || !isSameOrigin(headers)) {
      throw new ForbiddenException(
        `Only the page itself may ask for this. Scripts send the header ${PAGE_HEADER}: 1.`,
      );
    }
    return true;
  }
}

/** Browsers say it themselves; over plain HTTP they say where the page came from. What says neither is no browser. */
function isSameOrigin(headers: Headers): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) {
    return site === 'same-origin';
  }
  const { origin, host } = headers;
  return (
    origin === undefined || (URL.canParse(String(origin)) && new URL(String(origin)).host === host)
  );
}
