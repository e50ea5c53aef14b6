// Package cost counts what images cost to store, and what is saved when some of them go or move to the archive.
//
// It is pure: images and their blobs in, bytes and dollars out. It guarantees that a blob is counted once however many
// images share it, that the bytes freed are those that no image of the registry lists any more, and that they are never
// more than the logical bytes of the images that go.
package cost
