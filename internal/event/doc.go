// Package event delivers the events of the outbox to sinks: a file, webhooks,
// EventBridge, Security Hub.
//
// # Guarantees
//
//   - An event is in the outbox when, and only when, what it tells of is
//     committed: the registry writes both in one transaction.
//   - Every sink gets every event at least once. An event has the same id in
//     each delivery.
//   - Of one image, a sink gets an event after it took the one before, or that
//     was given up.
//   - A try that fails is repeated, later each time; after [MaxTries] tries or
//     [MaxAge] the event is given up for that sink, and kept in the list of dead
//     ones for as long as the outbox keeps events.
//   - Sinks do not wait for each other, and nothing that writes events waits for
//     any of them.
//   - Of several servers one delivers to a sink at a time.
package event
