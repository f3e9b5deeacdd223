// Keeps the access log from filling the disk, which Nginx does not by itself, and what else runs on the machine might not.
import fs from 'fs';

const LOG = '/var/log/nginx/access.log';
const LARGEST = 50 * 1024 * 1024; // bytes
const KEPT = 3; // besides the one that is written

function rotate() {
    if (!fs.existsSync(LOG) || fs.statSync(LOG).size < LARGEST) {
        return;
    }
    for (let number = KEPT; number > 0; number--) {
        const newer = number > 1 ? `${LOG}.${number - 1}` : LOG;
        if (fs.existsSync(newer)) {
            fs.renameSync(newer, `${LOG}.${number}`);
        }
    }
    // The master has all workers open the log anew; until then they write to the renamed one.
    process.kill(process.ppid, 'SIGUSR1');
}

export default { rotate };
