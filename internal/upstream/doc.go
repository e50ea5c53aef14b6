// Package upstream speaks to the registries that pull-through cache rules name.
//
// It guarantees that
//
//   - only public addresses are reached, whatever a name resolves to and
//     wherever an answer points: the address is looked at when the connection is
//     made, so that a name cannot change in between. Networks that an operator
//     allows are the exception;
//   - everything goes over TLS, and not through a proxy, which would make
//     connections that nobody here sees;
//   - answers are bounded in time and size.
//
// Today it asks whether a registry can be reached and lets anybody in. Pulling
// through and logging in come later.
package upstream
