/** The compiler leaves the files of the dashboard's page behind: they are served as they are. */
import { cp } from 'node:fs/promises';

await cp('src/dashboard/page', 'dist/dashboard/page', { recursive: true });
