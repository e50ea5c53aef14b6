package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/audit"
	"berth/internal/server"
)

// newBackupCommand is `berth backup`: everything of one moment, in one place.
func newBackupCommand(env *environment) *cobra.Command {
	var flags storageFlags
	var withKey bool
	cmd := &cobra.Command{
		Use:   "backup DEST",
		Short: "Copy a registry to a directory or .tar file, beside a running server or without one",
		Long: `Writes everything that the registry holds at one moment to DEST, which must not exist: a directory, or one file
when its name ends in .tar. Pushes and pulls go on; garbage collection deletes no bytes meanwhile. On the file system
of the data directory, layers are hard links and take no space.

Layers and manifests stay sealed as they are; layers from S3 are sealed like those on disk. The master key that opens them is not in the backup unless
--with-master-key is given: keep the file master.key of the data directory somewhere else, since without it nobody
can read the backup, and with it everybody.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, a, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if s.Keyring == nil && withKey {
				return server.ErrNoKeyring
			}
			show, end := progress(env)
			opt := audit.BackupOptions{MasterKeys: s.MasterKeyIDs(), Progress: show}
			if withKey {
				opt.MasterKey = func() ([]byte, error) { return os.ReadFile(s.Keyring.Path()) }
			}
			m, err := a.Backup(cmd.Context(), pathIn(env, strings.TrimRight(args[0], "/")), opt)
			end()
			if err != nil {
				return err
			}
			if flags.asJSON {
				return printJSON(env.stdout, m)
			}
			rows := 0
			for _, t := range m.Tables {
				rows += t.Rows
			}
			key := "The master key is in it: who can read the backup can read every image."
			if s.Keyring == nil {
				key = fmt.Sprintf("The master key is not in it: nothing can be restored without %s.", flags.cfg.MasterKey)
			} else if !withKey {
				key = fmt.Sprintf("The master key is not in it: keep a copy of %s in another place, nothing can be restored without it.", s.Keyring.Path())
			}
			_, err = fmt.Fprintf(env.stdout, "backed up %d rows, small blobs among them, and %d larger blobs (%d bytes) to %s\n%s\n", rows, m.Blobs, m.Bytes, args[0], key)
			if err == nil && m.Missing > 0 {
				err = fmt.Errorf("%d blobs are damaged or missing and not in the backup: run berth fsck", m.Missing)
			}
			return err
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&withKey, "with-master-key", false, "put the master key into the backup too")
	return cmd
}

// newRestoreCommand is `berth restore`: a backup into empty stores.
func newRestoreCommand(env *environment) *cobra.Command {
	var flags storageFlags
	cmd := &cobra.Command{
		Use:   "restore SRC",
		Short: "Put a backup into a new data directory and database",
		Long: `Compares everything in the backup SRC with its checksums, puts it into a data directory, database and blob store
that are empty, and checks the result as berth fsck does. Database and blob store may be other kinds than those that
were backed up: so a registry moves from one server to several. The master key must be in the backup, in the new data
directory, or named with --master-key. Uploads that were going on start over.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settleStorage(&flags.cfg, env)
			show, end := progress(env)
			r, err := server.Restore(cmd.Context(), flags.cfg, pathIn(env, args[0]), flags.log(env), show)
			end()
			if err != nil {
				return err
			}
			return reportCheck(env.stdout, r, flags.asJSON)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}
