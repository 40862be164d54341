/** A TypeORM logger that counts the statements sent to the database. */
export class StatementCounter {
  #count = 0;

  /** How many since the last time it was asked. */
  take() {
    const count = this.#count;
    this.#count = 0;
    return count;
  }

  logQuery() {
    this.#count += 1;
  }
  logQueryError() {}
  logQuerySlow() {}
  logSchemaBuild() {}
  logMigration() {}
  log() {}
}
