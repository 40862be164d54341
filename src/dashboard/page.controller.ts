import { Get, Inject, NotFoundException, Param, Req, Res } from '@nestjs/common';
import { DASHBOARD_OPTIONS } from './dashboard.constants.js';
import { DEFAULT_PATH, type DashboardOptions } from './dashboard.options.js';
import { readPageFiles } from './page-files.js';
import { Responder } from './responder.js';

/** The page and its files, as they are. */
export class DashboardPageController {
  private readonly files = readPageFiles();

  constructor(
    @Inject(Responder) private readonly responder: Responder,
    @Inject(DASHBOARD_OPTIONS) private readonly options: DashboardOptions,
  ) {}

  @Get()
  page(@Req() request: unknown, @Res() response: unknown): void {
    const { type, text } = this.file('index.html');
    this.responder.send(response, type, text.replaceAll('{{files}}', this.folderFor(request)));
  }

  @Get('files/:name')
  asset(@Param('name') name: string, @Res() response: unknown): void {
    const { type, text } = this.file(name);
    this.responder.send(response, type, text);
  }

  /** Relative, so that it is right behind prefixes and proxies that only they know. */
  private folderFor(request: unknown): string {
    const [path = ''] = this.responder.urlOf(request).split('?');
    const own = (this.options.path ?? DEFAULT_PATH).split('/').findLast((part) => part !== '');
    return path.endsWith('/') ? './files/' : `./${own}/files/`;
  }

  private file(name: string) {
    const file = this.files.get(name);
    if (file === undefined) {
      throw new NotFoundException();
    }
    return file;
  }
}
