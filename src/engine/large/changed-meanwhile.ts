/**
 * The key is no longer what it was when its round began: all that was read of it is void, and it
 * gets another round.
 */
export class ChangedMeanwhile extends Error {
  override readonly name = 'ChangedMeanwhile';
}
