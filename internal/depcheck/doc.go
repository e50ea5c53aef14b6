// Package depcheck holds the project to its own rules. It has no code of its own, only tests, and they read the source:
//
//   - which modules may be linked into the program, and why (budget_test.go);
//   - which package may import which, as docs/design.md section 3 draws it (layers_test.go);
//   - how source files look: their length, no init functions, no build tags, no paths of somebody's machine
//     (source_test.go);
//   - that docs/invariants.md names tests that exist (invariants_test.go).
package depcheck
