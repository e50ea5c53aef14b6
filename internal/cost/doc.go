// Package cost counts what images cost to store, and what is saved when some of them go.
//
// It is pure: images and their blobs in, bytes and dollars out. It guarantees that a blob is counted once however many
// images share it, that the bytes freed are exactly the difference of what is stored before and after, and that they are
// never more than the logical bytes of the images that go.
package cost
