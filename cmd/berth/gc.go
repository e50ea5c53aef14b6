package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/collect"
)

// newGCCommand is `berth gc`: one garbage collection now.
func newGCCommand(env *environment) *cobra.Command {
	var flags storageFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Give back the bytes that no image needs, now",
		Long: `Collects garbage once, beside a running server or without one. Servers do the same by themselves every hour.
A layer stays while an image lists it, and for the lease after its upload or last probe; its bytes stay for the time
of grace after that, and while a backup runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, _, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			gc := flags.cfg.GC.WithDefaults()
			r, err := collect.New(collect.Options{
				DB: s.DB, Blobs: s.Blobs, Log: flags.log(env), Now: time.Now, Lease: gc.Lease, Grace: gc.Grace,
			}).Collect(cmd.Context())
			if err != nil {
				return err
			}
			if flags.asJSON {
				return printJSON(env.stdout, r)
			}
			waiting := ""
			if r.Waiting {
				waiting = "; a backup is running, so bytes stay until it ends"
			}
			_, err = fmt.Fprintf(env.stdout, "ended %d memberships, dropped %d blobs, deleted %d copies (%d bytes)%s\n",
				r.Memberships, r.Blobs, r.Copies, r.Bytes, waiting)
			return err
		},
	}
	flags.register(cmd.Flags())
	addGraceFlags(cmd.Flags(), &flags.cfg.GC, "")
	return cmd
}
