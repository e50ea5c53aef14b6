// Package pullthrough fills repositories that cache rules stand for from their
// upstreams: while clients pull, and behind their backs.
//
// # Guarantees
//
//   - Bytes that do not have the digest asked for are never kept, and no answer
//     with them ends well: the last of a blob is held back until its digest is
//     known to be right. An upstream that cuts, stalls or lies leaves nothing.
//   - An upstream is asked once for what many clients want at the same time. A
//     client that goes away ends nothing that has begun.
//   - What is kept is served without the upstream, tags for a day, digests for
//     good. An upstream that fails afterwards changes nothing for those who pull.
//   - A digest is fetched only when a manifest lists it that was fetched by tag.
//   - What the caller may not import or create is not imported or created.
//   - Memory does not grow with the size of what is fetched. What waits on disk
//     is encrypted under a key that only this process has.
//
// Source: ECR User Guide, "Sync an upstream registry with an Amazon ECR private
// registry" and "Pulling an image with a pull through cache rule".
package pullthrough
