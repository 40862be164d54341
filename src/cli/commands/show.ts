import { recordView } from '../../record-view.js';
import { outcomeText, outcomeView } from '../outcome-view.js';
import { fields } from '../print.js';
import type { Session } from '../session.js';
import { Target } from '../target.js';

export async function show(session: Session): Promise<void> {
  const target = Target.of(session.values);
  const record = await target.require(await session.store());
  const view = recordView(record);
  const { lastError } = view;
  const outcome = session.values.result === true ? outcomeView(record) : undefined;
  session.answer(
    outcome === undefined ? view : { ...view, outcome },
    fields([
      ['id', view.id],
      ['state', view.state],
      ['operation', view.operation],
      ['scope', view.scope],
      ['key', view.key],
      ['attempts', `${view.attemptsStarted} started, ${view.attemptsFinished} finished`],
      ['fence', view.fence],
      ['claimed', view.claimedAt],
      ['lease until', view.leaseUntil],
      ['expires', view.expiresAt],
      ['last error', lastError && `${lastError.name}: ${lastError.message}`],
      ['outcome', outcome && outcomeText(outcome)],
    ]),
  );
}
