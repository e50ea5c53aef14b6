package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"berth/internal/audit"
	"berth/internal/server"
)

// newRotateKeysCommand is `berth rotate-keys`: new keys while servers work.
func newRotateKeysCommand(env *environment) *cobra.Command {
	var flags storageFlags
	var opt audit.RotateOptions
	cmd := &cobra.Command{
		Use:   "rotate-keys",
		Short: "Give a registry new keys and seal its contents anew, beside a running server or without one",
		Long: `Everything is sealed under data keys, and those are wrapped by the master key (or by KMS keys, which are rotated
in KMS).

  --master      makes a new master key and wraps under it all that the one before wrapped
  --retire-old  forgets master keys that wrap nothing any more; backups made before need their own copy of the file
  --data-keys   gives every account and encryption setting a new data key, which seals from now on
  --reencrypt   seals anew what older data keys sealed; layers take twice their space until the next garbage
                collection, after which another run forgets the old data keys

Pushes and pulls go on. A run that is stopped is finished by the next one; without a flag only that is done. Servers
that have a copy of the master key file of their own need the new file right after --master and before --retire-old.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, a, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if s.Keyring == nil {
				return server.ErrNoKeyring
			}
			show, end := progress(env)
			opt.Progress = show
			r, err := a.Rotate(cmd.Context(), s.MasterKeys(), opt)
			end()
			if flags.asJSON {
				return errors.Join(printJSON(env.stdout, r), err)
			}
			return errors.Join(rotateText(env.stdout, r), err)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&opt.Master, "master", false, "make a new master key")
	cmd.Flags().BoolVar(&opt.DataKeys, "data-keys", false, "make new data keys")
	cmd.Flags().BoolVar(&opt.Reencrypt, "reencrypt", false, "seal anew what older data keys sealed")
	cmd.Flags().BoolVar(&opt.RetireOld, "retire-old", false, "forget master keys that wrap nothing")
	return cmd
}

func rotateText(w io.Writer, r audit.RotateReport) error {
	_, err := fmt.Fprintf(w, "the master key is %s; wrapped %d keys anew and retired %d master keys\n"+
		"made %d data keys; sealed %d layers (%d bytes) and %d manifests anew; forgot %d old data keys\n",
		r.MasterKey, r.Rewrapped, len(r.Retired), r.DataKeys, r.Blobs, r.Bytes, r.Manifests, r.Dropped)
	if err == nil && r.Kept > 0 {
		_, err = fmt.Fprintf(w, "%d old data keys are still needed: run berth gc after its time of grace, then berth rotate-keys --reencrypt again\n", r.Kept)
	}
	for _, d := range r.Skipped {
		if err == nil {
			_, err = fmt.Fprintf(w, "skipped %s: its KMS key cannot be used now\n", d)
		}
	}
	if err == nil && r.Damaged > 0 {
		err = fmt.Errorf("%d layers or manifests are damaged: see the log, and run berth fsck --deep", r.Damaged)
	}
	return err
}
